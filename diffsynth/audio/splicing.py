"""A file as it would be with some of its bytes replaced, to be read without a copy."""

import io
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple


class Splice(NamedTuple):
    """Bytes `start` to `stop` of a file are replaced by `content`."""

    start: int
    stop: int
    content: bytes


class SplicedFile(io.RawIOBase):
    """What a binary file would hold after some splices, sorted and apart; the file stays as it is."""

    def __init__(self, file: BinaryIO, splices: Sequence[Splice]) -> None:
        self._file, self._place = file, 0
        # (length, place in the file) or (length, bytes)
        self._parts: list[tuple[int, int | bytes]] = []
        before = 0
        for splice in splices:
            self._parts += [(splice.start - before, before), (len(splice.content), splice.content)]
            before = splice.stop
        self._parts.append((file.seek(0, io.SEEK_END) - before, before))
        self._size = sum(length for length, _ in self._parts)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The byte that is read next."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte, as in any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(base + offset, 0)
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the file goes; returns the number of bytes."""
        wanted = memoryview(buffer).cast("B")
        content = self._content(self._place, len(wanted))
        wanted[: len(content)] = content
        self._place += len(content)
        return len(content)

    def _content(self, place: int, count: int) -> bytes:
        """Up to `count` bytes from a place."""
        found = b""
        for length, source in self._parts:
            if 0 <= place < length and len(found) < count:
                part = min(length - place, count - len(found))
                found += self._part(source, place, part)
                place += part
            place -= length
        return found

    def _part(self, source: int | bytes, place: int, count: int) -> bytes:
        if isinstance(source, bytes):
            return source[place : place + count]
        self._file.seek(source + place)
        return self._file.read(count)
