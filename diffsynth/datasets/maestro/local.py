"""MAESTRO from a local copy: the archive, or the folder extracted from it."""

import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from diffsynth.datasets.maestro.dataset import (
    DOCUMENTS,
    FOLDER,
    TABLE,
    Row,
    Years,
    of_years,
    parse,
    prefix_of,
)
from diffsynth.datasets.maestro.files import CHUNK, copy, describe_all, explained_if_full, require_space
from diffsynth.datasets.manifest import MANIFEST, Manifest, SetAside, write_manifest
from diffsynth.datasets.source import Means
from diffsynth.errors import UserError
from diffsynth.runs.files import atomic_folder


@dataclass(frozen=True)
class Copy:
    """A local copy.

    Attributes:
        table: text of the table.
        sizes: bytes of every file by its path in the archive.
        put: writes the file of such a path to a place.
    """

    table: str
    sizes: dict[str, int]
    put: Callable[[str, Path], None]


def copy_maestro(root: Path, years: Years, out: Path, means: Means) -> Manifest:
    """Fill a folder with the years wanted out of a local copy, at the paths of the archive.

    The copy is only read: it is not changed, moved or linked to.

    Raises:
        UserError: there is no such copy, it has nothing of those years, or is damaged.
    """
    with ExitStack() as stack:
        source = _of_folder(root) if root.is_dir() else _of_archive(root, stack)
        prefix = prefix_of(source.sizes)
        rows, set_aside = _split(of_years(parse(source.table, str(root)), years), prefix, source)
        if not rows:
            raise UserError(f"{root} has none of the files that its {TABLE} lists; {set_aside[0].reason}")
        names = [prefix + path for row in rows for path in (row.midi, row.audio)]
        names += [prefix + name for name in (TABLE, *DOCUMENTS) if prefix + name in source.sizes]
        require_space(out.absolute().parent, sum(source.sizes[name] for name in names))
        with explained_if_full(out), atomic_folder(out, MANIFEST) as folder:
            for name in tqdm(names, "copying", unit="file", disable=None if means.progress else True):
                source.put(name, folder / name)
            (folder / prefix / TABLE).write_text(source.table, encoding="utf8", newline="")
            performances, unusable, _ = describe_all(folder, prefix, rows, {}, means.workers, means.progress)
            found = sorted([*set_aside, *unusable], key=lambda item: item.name)
            manifest = Manifest("maestro", performances, found)
            write_manifest(folder, manifest)
    return manifest


def _split(rows: list[Row], prefix: str, source: Copy) -> tuple[list[Row], list[SetAside]]:
    """Rows whose files are there, and the others."""
    there, set_aside = [], []
    for row in rows:
        absent = [path for path in (row.midi, row.audio) if prefix + path not in source.sizes]
        if absent:
            set_aside.append(SetAside(row.audio, f"there is no {' and no '.join(absent)}"))
        else:
            there.append(row)
    return there, set_aside


def _of_folder(root: Path) -> Copy:
    """A folder that holds the table, or the folder that does."""
    base = next((folder for folder in (root, root / FOLDER) if (folder / TABLE).is_file()), None)
    if base is None:
        raise UserError(f"{root} holds no {TABLE}, so it is no copy of MAESTRO v3.0.0")
    files = (path for path in base.rglob("*") if path.is_file())
    sizes = {f"{FOLDER}/{path.relative_to(base).as_posix()}": path.stat().st_size for path in files}

    def put(name: str, target: Path) -> None:
        copy(base / name.removeprefix(f"{FOLDER}/"), target)

    return Copy(_text((base / TABLE).read_bytes(), base / TABLE), sizes, put)


def _of_archive(root: Path, stack: ExitStack) -> Copy:
    """The archive, with the table in it or beside it."""
    if not root.is_file():
        raise UserError(f"{root} does not exist")
    try:
        archive = stack.enter_context(zipfile.ZipFile(root))
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{root} is not a complete ZIP archive: {error}") from error
    sizes = {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}

    def put(name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _damage(root, name), archive.open(name) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK)  # zipfile checks CRC and size

    beside = root.with_name(TABLE)
    if (name := prefix_of(sizes) + TABLE) in sizes:
        with _damage(root, name):
            return Copy(_text(archive.read(name), root), sizes, put)
    if beside.is_file():
        return Copy(_text(beside.read_bytes(), beside), sizes, put)
    raise UserError(f"there is no {TABLE} in {root} or beside it")


@contextmanager
def _damage(root: Path, name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(f"{root} is damaged at {name}: {error}") from error


def _text(content: bytes, source: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is not readable as text: {error}") from error
