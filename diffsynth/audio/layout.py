"""The bytes of an audio file, and what its header says of the extent of its sound."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from diffsynth.audio.splicing import Splice


@dataclass(frozen=True)
class Layout:
    """What a header says of the extent of its sound.

    Attributes:
        end: byte at which the sound ends by the header; None if it does not know.
        missing: why the sound is known to be cut short; "" if it is not.
        splices: what a decoder has to see instead, so that it decodes the whole.
    """

    end: int | None = None
    missing: str = ""
    splices: tuple[Splice, ...] = ()


@dataclass(frozen=True)
class Content:
    """A file on disk, of `size` bytes, whose format begins at byte `start` (behind tags)."""

    file: BinaryIO
    start: int
    size: int

    def read(self, form: str, place: int) -> tuple[Any, ...]:
        """Values, in the notation of `struct`, at a byte of the file.

        Raises:
            struct.error: the file ends before.
        """
        return struct.unpack(form, self.bytes(place, struct.calcsize(form)))

    def bytes(self, place: int, count: int) -> bytes:
        """Up to `count` bytes at a byte of the file."""
        self.file.seek(place)
        return self.file.read(count)


Parser = Callable[[Content], Layout]
