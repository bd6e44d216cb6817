"""Files of MAESTRO in a folder: put there without a second copy where that can be, checked, described."""

import errno
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from diffsynth.audio.files import survey_audio
from diffsynth.datasets.maestro.dataset import Row, names_of
from diffsynth.datasets.manifest import Performance, SetAside
from diffsynth.errors import UserError
from diffsynth.runs.parallel import parallel_map

_BLOCK = 1 << 20  # bytes
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SLACK = 1 << 20  # bytes that manifests, journals and folders take


@dataclass(frozen=True)
class Wrong:
    """Files whose contents are not those that the archive lists."""

    names: list[str]


def describe_all(
    folder: Path,
    prefix: str,
    rows: Sequence[Row],
    checksums: Mapping[str, int],
    workers: int,
    progress: bool = True,
) -> tuple[list[Performance], list[SetAside], list[str]]:
    """Read every file of some rows once more and make manifest entries of them.

    Args:
        folder: holds the files at `prefix` and the paths of the table.
        prefix: folder of the dataset in `folder`, with a final "/", or "".
        rows: what to describe.
        checksums: CRC-32 by path below `folder`, of those files that have to have one.
        workers: processes.
        progress: show a bar on a terminal.

    Returns:
        Performances by name, what cannot be used, and the paths of files whose CRC is wrong.
    """
    job = partial(_describe, folder=folder, prefix=prefix, checksums=checksums)
    found = list(
        parallel_map(job, list(zip(rows, names_of(rows), strict=True)), workers, "checking", progress)
    )
    performances = [item for item in found if isinstance(item, Performance)]
    wrong = [name for item in found if isinstance(item, Wrong) for name in item.names]
    return (
        sorted(performances, key=lambda performance: performance.name),
        [item for item in found if isinstance(item, SetAside)],
        wrong,
    )


def _describe(
    task: tuple[Row, str], folder: Path, prefix: str, checksums: Mapping[str, int]
) -> Performance | SetAside | Wrong:
    row, name = task
    paths = (prefix + row.midi, prefix + row.audio)
    digests = [digest(folder / path) for path in paths]
    wrong = [p for p, (_, crc) in zip(paths, digests, strict=True) if checksums.get(p, crc) != crc]
    if wrong:
        return Wrong(wrong)
    try:
        survey = survey_audio(folder / paths[1])
    except UserError as error:
        # The file lies in a temporary folder, whose name would tell nobody anything.
        return SetAside(row.audio, str(error).removeprefix(f"{folder / paths[1]} ").removeprefix("is "))
    return Performance(
        name=name,
        split=row.split,
        midi=paths[0],
        audio=paths[1],
        midi_sha256=digests[0][0],
        audio_sha256=digests[1][0],
        duration=survey.duration,
        title=f"{row.composer}: {row.title}",
        clipped=survey.clipped,
    )


def digest(path: Path) -> tuple[str, int]:
    """SHA-256, hexadecimal, and CRC-32 of a file."""
    sha, crc = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha.update(block)
            crc = zlib.crc32(block, crc)
    return sha.hexdigest(), crc


def link(source: Path, target: Path) -> None:
    """A second name for a file of ours; a copy where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        copy(source, target)


def copy(source: Path, target: Path) -> None:
    """A copy of somebody else's file, which shares its blocks where the file system can do that.

    Never a link: DVC makes the files of its cache read-only, and through a link that would be the
    user's own file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), 1 << 30):
                pass
        except OSError as error:
            if error.errno in _FULL:
                raise
            reader.seek(0)
            writer.seek(0)
            writer.truncate()
            shutil.copyfileobj(reader, writer, _BLOCK)


def size_text(count: float) -> str:
    """Bytes in decimal units, for people."""
    return tqdm.format_sizeof(count, "B")


def free_space(folder: Path) -> int:
    """Bytes free on the disk that a folder is on, or would be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_space(folder: Path, need: int) -> None:
    """Make sure that so many more bytes fit.

    Raises:
        UserError: they do not; states the need.
    """
    free = free_space(folder)
    if need and need + _SLACK > free:
        raise UserError(
            f"the disk of {folder} is too full: {size_text(need + _SLACK)} more are needed, "
            f"{size_text(free)} are free"
        )


@contextmanager
def explained_if_full(folder: Path, advice: str = "") -> Iterator[None]:
    """One line for a disk, quota or file size limit that is reached in spite of `require_space`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise UserError(f"no room left on the disk of {folder} ({error.strerror}){advice}") from error
