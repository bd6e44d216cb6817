"""Which files of MAESTRO a server has, and which are to be fetched for some years."""

import heapq
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from zipfile import ZIP_DEFLATED

from diffsynth.datasets.maestro.dataset import (
    ARCHIVE,
    DOCUMENTS,
    TABLE,
    Row,
    Years,
    of_years,
    parse,
    prefix_of,
)
from diffsynth.datasets.maestro.files import size_text
from diffsynth.datasets.maestro.http_ranges import Patience, Remote, Stamp
from diffsynth.datasets.maestro.partial_files import Depot
from diffsynth.datasets.maestro.remote_zip import DamagedError, Member, list_members, read_member
from diffsynth.datasets.manifest import SetAside
from diffsynth.errors import UserError

# A killed process loses all requests under way. Ten kills must cost less than 5 % of a download.
UNDER_WAY = 1 / 400  # of the bytes wanted may be asked for at once
SMALLEST, LARGEST = 1 << 16, 1 << 24  # bytes of one request: below, headers count; above, nothing is gained


@dataclass(frozen=True)
class Release:
    """The archive at `url` in the version `stamp`: its members, and the text of the table."""

    url: str
    stamp: Stamp
    members: list[Member]
    table: str


@dataclass(frozen=True)
class DownloadPlan:
    """A download.

    Attributes:
        rows: performances whose files are in the archive.
        set_aside: performances of those years whose files are not.
        prefix: in front of the table's paths in the archive.
        members: every file wanted.
        missing: those that are not complete.
        total: compressed bytes of all.
        arrived: compressed bytes that need not be fetched any more.
        disk: bytes that all take in the end.
        room: bytes that have to be free for what is missing, at most.
        chunk: bytes of one request.
    """

    rows: list[Row]
    set_aside: list[SetAside]
    prefix: str
    members: list[Member]
    missing: list[Member]
    total: int
    arrived: int
    disk: int
    room: int
    chunk: int

    def lines(self, free: int) -> list[str]:
        """The plan for people; `free` bytes are free on the disk."""
        years = sorted({row.year for row in self.rows})
        return [
            f"MAESTRO v3.0.0, {', '.join(map(str, years))}: "
            f"{len(self.rows)} performances, {len(self.members)} files",
            f"to fetch: {size_text(self.total - self.arrived)} ({self.total - self.arrived} bytes) in "
            f"{len(self.missing)} files; {size_text(self.arrived)} of {size_text(self.total)} are here",
            f"on disk: {size_text(self.disk)} in the end; at most {size_text(self.room)} more are needed "
            f"until then, {size_text(free)} are free",
            *(f"set aside: {item.name}: {item.reason}" for item in self.set_aside),
        ]


def address(url: str) -> str:
    """The folder at a server, with a final slash."""
    if not url.startswith(("http://", "https://")):
        raise UserError(f"dataset.url must start with http:// or https://, not {url!r}")
    return url if url.endswith("/") else f"{url}/"


def survey(archive: Remote, url: str, patience: Patience, say: Callable[[str], None]) -> Release:
    """Ask a server for the list of the archive and for the table.

    Raises:
        ChangedError: the archive is replaced meanwhile.
        DamagedError: something arrived damaged.
        UserError: the server gives up, or has no such files.
    """
    table = Remote(address(url) + TABLE, patience, say).get()
    stamp = archive.stamp()
    members = list_members(archive, stamp)
    if not _complete(members, table):
        members = list_members(archive, stamp)  # a list has no checksum: what is missing is asked for twice
    listed = members.get(prefix_of(members) + TABLE)
    if listed and (listed.size, listed.crc) != (len(table), zlib.crc32(table)):
        table = read_member(archive, stamp, listed)  # the archive's own has a checksum
    try:
        return Release(archive.url, stamp, list(members.values()), table.decode())
    except UnicodeDecodeError as error:
        raise DamagedError(f"{url}{TABLE} is not readable as text") from error


def _complete(members: dict[str, Member], table: bytes) -> bool:
    """Whether an archive lists every file of a table, as far as that is readable."""
    try:
        rows = parse(table.decode(), TABLE)
    except (UserError, UnicodeDecodeError):
        return True
    prefix = prefix_of(members)
    return all(prefix + path in members for row in rows for path in (row.midi, row.audio))


def make_plan(release: Release, years: Years, depot: Depot, connections: int) -> DownloadPlan:
    """What is to be fetched, given what is in the depot.

    Raises:
        UserError: a year is unknown, or the archive has nothing of it.
    """
    members = {member.name: member for member in release.members}
    prefix = prefix_of(members)
    rows, set_aside = [], []
    for row in of_years(parse(release.table, TABLE), years):
        absent = [path for path in (row.midi, row.audio) if prefix + path not in members]
        if absent:
            set_aside.append(SetAside(row.audio, f"the archive has no {' and no '.join(absent)}"))
        else:
            rows.append(row)
    if not rows:
        raise UserError(f"{release.url} has none of the files that {TABLE} lists; {set_aside[0].reason}")
    names = {prefix + path for row in rows for path in (row.midi, row.audio)}
    names |= {prefix + path for path in (TABLE, *DOCUMENTS)}
    wanted = [member for member in release.members if member.name in names]
    missing = [member for member in wanted if not depot.has(member)]
    total = sum(member.compressed for member in wanted)
    return DownloadPlan(
        rows=rows,
        set_aside=set_aside,
        prefix=prefix,
        members=wanted,
        missing=missing,
        total=total,
        arrived=sum(depot.arrived(member) for member in wanted),
        disk=sum(member.size for member in wanted),
        room=_room(missing, depot, connections),
        chunk=min(max(int(total * UNDER_WAY / connections), SMALLEST), LARGEST),
    )


def _room(missing: list[Member], depot: Depot, connections: int) -> int:
    """Bytes that the missing members need: all contents, and the compressed form of those under way."""
    under_way = heapq.nlargest(connections, (m.compressed for m in missing if m.method == ZIP_DEFLATED))
    here = sum(depot.arrived(member) for member in missing)
    return max(0, sum(member.size for member in missing) + sum(under_way) - here)


def archive_address(url: str) -> str:
    """The archive at a server."""
    return address(url) + ARCHIVE
