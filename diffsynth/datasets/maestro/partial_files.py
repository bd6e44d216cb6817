"""The folder of a download in progress: what has arrived survives the end of the process.

It lies beside the folder that the download is for, so that finished files are linked there and not
copied. Three kinds of things are in it:

    release.json    what is to be fetched, written by the caller
    parts/NAME      the bytes of a member so far, as compressed in the archive, and NAME.json about them
    files/NAME      members that are complete, their CRC and size checked
"""

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from diffsynth.datasets.maestro.http_ranges import Remote, Stamp
from diffsynth.datasets.maestro.remote_zip import DamagedError, Member, contents, find_data
from diffsynth.errors import UserError
from diffsynth.runs.files import read_json, write_json

PREFIX = ".download-"
LOCK = "lock"
SYNC = 1 << 25  # bytes of a member after which they are forced to the disk
ATTEMPTS = 3  # to get a member undamaged
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Depot:
    """The folder and its parts; the archive's `url` keeps files of different servers apart."""

    def __init__(self, out: Path) -> None:
        out = out.absolute()
        self.root = out.parent / f"{PREFIX}{out.name}"
        self.release = self.root / "release.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out.

        Raises:
            UserError: one is in, or the folder cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {self.root}: {error.strerror}") from error
        try:
            with FileLock(self.root / LOCK).acquire(timeout=0):
                try:
                    yield
                finally:
                    self._remove_if_empty()
        except Timeout as error:
            raise UserError(f"another download into {self.root} is under way") from error

    def file(self, name: str) -> Path:
        """Place of a complete member."""
        return self.root / "files" / name

    def part(self, name: str) -> Path:
        """Place of the compressed bytes of a member."""
        return self.root / "parts" / name

    def has(self, member: Member) -> bool:
        """Whether a member is complete."""
        path = self.file(member.name)
        return path.is_file() and path.stat().st_size == member.size

    def arrived(self, member: Member) -> int:
        """Compressed bytes of a member that need not be fetched any more, about."""
        if self.has(member):
            return member.compressed
        with suppress(FileNotFoundError):
            return min(self.part(member.name).stat().st_size, member.compressed)
        return 0

    def tidy(self) -> None:
        """Remove what is not complete."""
        shutil.rmtree(self.root / "parts", ignore_errors=True)

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _remove_if_empty(self) -> None:
        if self.root.is_dir() and {path.name for path in self.root.iterdir()} <= {LOCK}:
            self.remove()


class PartialMember:
    """The compressed bytes of one member so far, appended to a file.

    What was written survives a killed process. After a crash of the machine the end of the file
    may be anything, so that only what was forced to the disk before counts.
    """

    def __init__(self, path: Path, stamp: Stamp, member: Member) -> None:
        self.path, self._journal = path, path.with_name(f"{path.name}.json")
        self._identity = {"stamp": asdict(stamp), "member": asdict(member)}
        self.start: int | None = None
        self.position = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._recall(member)
        self._file = path.open("ab", buffering=0)

    def _recall(self, member: Member) -> None:
        """Take over what an earlier process left, if it is of the same member of the same archive."""
        journal: dict[str, Any] = {}
        with suppress(UserError):
            journal = read_json(self._journal)
        if not isinstance(journal, dict) or not self.path.is_file() or not self._is_of_this(journal):
            self.path.unlink(missing_ok=True)
            return
        there = self.path.stat().st_size
        certain = there if journal["boot"] == _boot() != "" else journal["synced"]
        self.position = min(certain, there, member.compressed)
        os.truncate(self.path, self.position)
        self.start = journal["start"]

    def _is_of_this(self, journal: dict[str, Any]) -> bool:
        return all(journal.get(key) == value for key, value in self._identity.items())

    def begin(self, start: int) -> None:
        """Note where in the archive the member's bytes start."""
        self.start = start
        self._note()

    def append(self, block: bytes) -> None:
        """Add the bytes that follow."""
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]
        before, self.position = self.position, self.position + len(block)
        if before // SYNC != self.position // SYNC:
            self._note()

    def _note(self) -> None:
        os.fdatasync(self._file.fileno())
        synced = {"start": self.start, "synced": self.position, "boot": _boot()}
        write_json(self._journal, {**self._identity, **synced})

    def close(self) -> None:
        """Close the file; it can be taken up again."""
        self._file.close()

    def drop(self) -> None:
        """Forget it."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)


def fetch_member(
    remote: Remote, stamp: Stamp, member: Member, depot: Depot, chunk: int, advance: Callable[[int], None]
) -> None:
    """Fetch a member into the depot, from where an earlier try stopped.

    Args:
        remote: the archive.
        stamp: its version.
        member: which one.
        depot: where to.
        chunk: bytes asked for at once.
        advance: called with the number of compressed bytes that came, or with a negative one if they
            have to come again.

    Raises:
        ChangedError: the archive is another one now.
        DamagedError: it did not arrive undamaged.
        UserError: the server gives up.
    """
    for attempt in range(ATTEMPTS):
        part = PartialMember(depot.part(member.name), stamp, member)
        try:
            if part.start is None:
                part.begin(find_data(remote, stamp, member))
            _receive(part, remote, stamp, member, chunk, advance)
            _complete(part, member, depot.file(member.name))
            return
        except DamagedError:
            advance(-part.position)
            part.drop()
            if attempt + 1 == ATTEMPTS:
                raise
        finally:
            part.close()


def _receive(
    part: PartialMember,
    remote: Remote,
    stamp: Stamp,
    member: Member,
    chunk: int,
    advance: Callable[[int], None],
) -> None:
    assert part.start is not None
    stop = part.start + member.compressed
    for block in remote.stream(part.start + part.position, stop, stamp, chunk):
        part.append(block)
        advance(len(block))


def _complete(part: PartialMember, member: Member, target: Path) -> None:
    """Check the contents of a part and give them their final name.

    A stored member is its own contents; a deflated one needs room for both forms for this moment.
    """
    part.close()
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.method == zipfile.ZIP_STORED:
        whole = part.path
        with whole.open("rb") as source:
            for _ in contents(source, member):
                pass
            os.fsync(source.fileno())
    else:
        whole = part.path.with_name(f"{part.path.name}.whole")
        with part.path.open("rb") as source, whole.open("wb") as file:
            for block in contents(source, member):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
    os.replace(whole, target)
    part.drop()


def _boot() -> str:
    """Identifier of this start of the machine; "" where the system has none."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
