"""A ZIP archive at a web server: its list of members, and where the bytes of one lie.

The list is read by `zipfile`, which knows ZIP64, from a file that fetches what is read of it.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from diffsynth.datasets.maestro.files import CHUNK
from diffsynth.datasets.maestro.http_ranges import Remote, Stamp

_HEADER = struct.Struct("<4s22xHH")  # of a member: signature, lengths of name and extra field
_TAIL = 4096  # bytes at the end of an archive that are fetched at once: more than its end records
_DEFLATE = 1032  # largest factor by which deflate compresses


class DamagedError(Exception):
    """Bytes that arrived are not those that the archive lists."""


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        name: path in the archive.
        offset: of its header, in bytes from the beginning of the archive.
        method: 0 stored, 8 deflated.
        crc: CRC-32 of its contents.
        compressed: bytes in the archive, header not counted.
        size: bytes of its contents.
    """

    name: str
    offset: int
    method: int
    crc: int
    compressed: int
    size: int


def list_members(remote: Remote, stamp: Stamp) -> dict[str, Member]:
    """The files in an archive by name, in the order of the archive.

    Raises:
        DamagedError: it is no ZIP archive of stored and deflated files, or arrived damaged.
        UserError: the server gives up.
    """
    try:
        with zipfile.ZipFile(_RangedFile(remote, stamp)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
        raise DamagedError(f"{remote.url} is not a readable ZIP archive: {error}") from error
    members = [
        Member(e.filename, e.header_offset, e.compress_type, e.CRC, e.compress_size, e.file_size)
        for e in sorted(entries, key=lambda entry: entry.header_offset)
    ]
    _check_layout(members, stamp, remote.url)
    return {member.name: member for member in members}


def _check_layout(members: Sequence[Member], stamp: Stamp, url: str) -> None:
    """Find most flipped numbers in a list, which has no checksum of its own.

    Raises:
        DamagedError: members overlap, or a size cannot be.
    """
    ends = [*(following.offset for following in members[1:]), stamp.size]
    for member, end in zip(members, ends, strict=True):
        least = member.offset + _HEADER.size + len(member.name) + member.compressed
        largest = member.compressed if member.method == zipfile.ZIP_STORED else _DEFLATE * member.compressed
        if member.offset < 0 or least > end:
            raise DamagedError(f"{url}: {member.name} does not fit where the archive lists it")
        if member.size > largest or member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DamagedError(f"{url}: the list of the archive says what cannot be about {member.name}")


def find_data(remote: Remote, stamp: Stamp, member: Member) -> int:
    """Offset of a member's first byte; it follows from the header in front of the member.

    Raises:
        DamagedError: that header is another's, or none.
        UserError: the server gives up.
    """
    length = _HEADER.size + len(member.name.encode())
    header = remote.read(member.offset, member.offset + length, stamp)
    signature, name, extra = _HEADER.unpack(header[: _HEADER.size])
    if signature != b"PK\x03\x04" or header[_HEADER.size :][:name] not in _spellings(member.name):
        raise DamagedError(f"{remote.url}: {member.name} is not where the archive lists it")
    start = member.offset + _HEADER.size + int(name) + int(extra)
    if start + member.compressed > stamp.size:
        raise DamagedError(f"{remote.url} ends before {member.name} does")
    return start


def contents(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield the contents of a member, in blocks, from a file of its compressed bytes.

    Raises:
        DamagedError: at the end, if CRC or size is not that of the archive.
    """
    crc = size = 0
    for block in _stored(file) if member.method == zipfile.ZIP_STORED else _inflated(file, member.name):
        crc = zlib.crc32(block, crc)
        size += len(block)
        if size > member.size:
            break
        yield block
    if (crc, size) != (member.crc, member.size):
        raise DamagedError(f"{member.name} arrived damaged: its CRC or size is not that of the archive")


def read_member(remote: Remote, stamp: Stamp, member: Member) -> bytes:
    """The contents of a small member."""
    start = find_data(remote, stamp, member)
    data = remote.read(start, start + member.compressed, stamp)
    return b"".join(contents(io.BytesIO(data), member))


def _stored(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(CHUNK):
        yield block


def _inflated(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Inflate in pieces of bounded size, whatever the compression ratio."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while not engine.eof:
            data = engine.unconsumed_tail or file.read(CHUNK)
            block = engine.decompress(data, CHUNK)
            if not data and not block:
                return  # cut short, as the caller will see
            yield block
    except zlib.error as error:
        raise DamagedError(f"{name} arrived damaged: {error}") from error


def _spellings(name: str) -> set[bytes]:
    """How a name may be written in an archive."""
    spellings = {name.encode()}
    if name.isascii():
        return spellings
    try:
        return spellings | {name.encode("cp437")}
    except UnicodeEncodeError:
        return spellings


class _RangedFile(io.RawIOBase):
    """A remote file as one that can be read and sought; its end is fetched once."""

    def __init__(self, remote: Remote, stamp: Stamp) -> None:
        self._remote, self._stamp = remote, stamp
        self._position = 0
        self._tail_start = max(0, stamp.size - _TAIL)
        self._tail = remote.read(self._tail_start, stamp.size, stamp)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._stamp.size}[whence]
        if base + offset < 0:
            raise ValueError("negative position")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._stamp.size if size is None or size < 0 else self._position + size
        start, stop = self._position, min(wanted, self._stamp.size)
        if start >= stop:
            return b""
        data = b""
        if start < self._tail_start:
            data = self._remote.read(start, min(stop, self._tail_start), self._stamp)
        data += self._tail[max(0, start - self._tail_start) : max(0, stop - self._tail_start)]
        self._position = stop
        return data
