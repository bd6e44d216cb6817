"""Atomic writing of files, and hashes of their contents."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffsynth.errors import UserError

NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


def check_name(name: str, option: str) -> str:
    """A name that a folder can have.

    Raises:
        UserError: it is none.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"{option} takes NAME=..., letters, digits, '.', '_' and '-', not {name!r}")
    return name


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the body succeeds.

    The suffix is kept, because audio libraries choose the format by it. The kernel applies the umask,
    which a process cannot read without setting it for all of its threads; a library that puts a file of its
    own in the place of the temporary one does not decide who may read it.

    Raises:
        UserError: the folder cannot be created or written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".part-{secrets.token_hex(8)}{path.suffix}"
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        mode = temporary.stat().st_mode & 0o777
    except OSError as error:
        raise UserError(f"cannot write {path}: {_reason(error)}") from error
    try:
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, index: str) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it replaces `path` if the body succeeds.

    Args:
        path: folder to write.
        index: file that the body writes into it, by which the folder is known as such later.

    Raises:
        UserError: the folder cannot be created, or what is there was not written in this way.
    """
    path = Path(path)
    check_folder(path, index)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".part-{path.name}-{secrets.token_hex(8)}"
        temporary.mkdir()
    except OSError as error:
        raise UserError(f"cannot write {path}: {_reason(error)}") from error
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(path: Path, index: str) -> None:
    """Refuse, before work is done for it, to replace a folder that was not written by `atomic_folder`.

    Raises:
        UserError: `path` is a file, or holds something, but no `index`.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file, not a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / index).is_file():
        raise UserError(f"{path} holds other files, which would be replaced; choose another folder to write")


def check_apart(out: Path, *inputs: Path) -> None:
    """Refuse to write a folder that holds what is read for it.

    Raises:
        UserError: an input lies in `out`, which is replaced as a whole.
    """
    for path in inputs:
        if path.resolve().is_relative_to(out.resolve()):
            raise UserError(f"{path} lies in {out}, which would be replaced; choose another folder to write")


def check_writable(path: str | Path) -> None:
    """Refuse a file that could not be written, before long work is done for it; creates nothing.

    Raises:
        UserError: `path` is a folder, or its nearest folder that exists cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder")
    nearest = next(parent for parent in path.parents if parent.exists())
    if not nearest.is_dir():
        raise UserError(f"cannot write {path}: {os.strerror(errno.ENOTDIR)}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: {nearest} is not writable")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable as JSON: {error}") from error


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of the names and contents of all files below a folder."""
    names = sorted(file for file in Path(path).rglob("*") if file.is_file())
    lines = [f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in names]
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _reason(error: OSError) -> str | None:
    """The reason of an error; a file in place of a folder is named as such, unlike in `mkdir`'s error."""
    return os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else error.strerror
