"""Which segments lie in which shard: known before anything is written, and stated in the index after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Piece:
    """Neighbouring segments of one performance.

    Attributes:
        name: of the performance.
        first: number of the first segment in it.
        count: of segments.
        length: samples of recording in them; only the last one of a performance may hold less than others.
    """

    name: str
    first: int
    count: int
    length: int


def segment_count(samples: int, length: int) -> int:
    """Segments of `length` samples that hold all of them."""
    return -(-samples // length)


def whole(name: str, samples: int, length: int) -> Piece:
    """A performance of so many samples in segments of `length` samples."""
    return Piece(name, 0, segment_count(samples, length), samples)


def clip(pieces: Sequence[Piece], first: int, last: int, length: int) -> list[Piece]:
    """The pieces that hold segments [first, last), counted over all of `pieces`."""
    result, passed = [], 0
    for piece in pieces:
        low, high = max(first - passed, 0), min(last - passed, piece.count)
        if low < high:
            recorded = min(high * length, piece.length) - low * length
            result.append(Piece(piece.name, piece.first + low, high - low, recorded))
        passed += piece.count
    return result


def lengths(pieces: Sequence[Piece], length: int) -> list[int]:
    """Samples of recording in every segment of `length` samples."""
    return [min(length, p.length - i * length) for p in pieces for i in range(p.count)]


def even_parts(count: int, parts: int) -> list[tuple[int, int]]:
    """`count` items in so many runs [first, last) whose sizes differ by at most one."""
    borders = [count * i // parts for i in range(parts + 1)]
    return list(pairwise(borders))
