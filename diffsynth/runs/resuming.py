"""Stages that continue where they were interrupted.

DVC deletes the outs of a stage before it runs, and no output may ever be half written. So the work is
done in a folder beside the output, `.part-NAME`, which becomes the output when it is complete. Every
finished item leaves a record there: a stamp of all that decides it, its result, and the SHA-256 of its
files. The next run takes over what has the same stamp and unchanged files, and does the rest.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from diffsynth.errors import UserError
from diffsynth.runs.files import check_folder, read_json, sha256, write_json

LIBRARY = Path(__file__).parents[1]
RECORDS = ".done"  # folder of the records within the work folder


@contextmanager
def resumable_folder(path: str | Path, index: str) -> Iterator[Path]:
    """Yield the work folder of `path`; it replaces `path` if the body succeeds.

    It is kept where the body was interrupted, and removed where the input was wrong. The body has to
    `tidy` it.

    Args:
        path: folder to write.
        index: file that the body writes into it, by which the folder is known as such later.

    Raises:
        UserError: the folder cannot be created, what is there was not written in this way, or another
            process is at work in it.
    """
    path = Path(path)
    check_folder(path, index)
    work = path.parent / f".part-{path.name}"
    try:
        (work / RECORDS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    with locked(work, path):
        try:
            yield work
        except UserError:
            shutil.rmtree(work)
            raise
        if path.exists():
            shutil.rmtree(path)
        os.replace(work, path)


def make_stamp(code: Sequence[str], *decisive: Any) -> str:
    """Hash of all that decides a result: parts of the library's code, and any JSON.

    Args:
        code: folders and files of the library, such as "midi"; edits elsewhere do not change the stamp.
        decisive: the rest.
    """
    return hashlib.sha256(json.dumps([_digest(*code), *decisive], sort_keys=True).encode()).hexdigest()


def code_files(names: Sequence[str]) -> list[Path]:
    """Source files of the library in folders, or by name, in order."""
    places = [LIBRARY / name for name in names]
    return [file for place in places for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]


def record(work: Path, name: str, stamp: str, result: Any, files: Sequence[str]) -> None:
    """Note that item `name` is done: its result (any JSON) and its files in the work folder."""
    content = {"stamp": stamp, "result": result, "files": {file: sha256(work / file) for file in files}}
    write_json(work / RECORDS / f"{name}.json", content)


def recall(work: Path, name: str, stamp: str) -> Any:
    """The recorded result of an item; None if it is not done, made otherwise, or damaged."""
    try:
        known = read_json(work / RECORDS / f"{name}.json")
        if known["stamp"] == stamp and all(sha256(work / f) == d for f, d in known["files"].items()):
            return known["result"]
    except (UserError, OSError, LookupError, TypeError, AttributeError):
        pass  # no record, or one that was written by something else
    return None


def tidy(work: Path, files: Collection[str]) -> None:
    """Remove everything from the work folder but the named files: records, and what a killed run left."""
    shutil.rmtree(work / RECORDS)
    for path in work.iterdir():
        if path.name not in files:
            path.unlink()


@contextmanager
def locked(work: Path, path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process at the latest.

    Args:
        work: folder that is locked.
        path: what is written, for the message.

    Raises:
        UserError: another process holds it.
    """
    handle = os.open(work, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The other process may have finished in between: then this is its result.
        if not work.exists() or not os.path.samestat(os.fstat(handle), os.stat(work)):
            raise BlockingIOError
        yield
    except BlockingIOError as error:
        raise UserError(f"{path} is being written by another process") from error
    finally:
        os.close(handle)


def library_digest() -> str:
    """Hash of all source files of the library."""
    return _digest("")


@cache
def _digest(*names: str) -> str:
    """Hash of source files of the library."""
    return hashlib.sha256("".join(map(sha256, code_files(names))).encode()).hexdigest()
