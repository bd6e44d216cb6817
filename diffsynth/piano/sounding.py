"""Which modes sound in a block: those of whole keys, so that all others cost nothing.

A key sounds while any of its modes does, and where it is struck. What is left out is exactly 0, so nothing is
heard of a key that comes in or drops out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

MOST = 0.5  # share of the modes from which on all are played: then one large product is faster than many
Array = TypeVar("Array", bound=np.generic)


@dataclass(frozen=True)
class Sounding:
    """Some of the modes of a piano, in its order; q of p.

    Attributes:
        modes: [q] their places among all, rising.
        keys: of whole keys, rising; those that have no modes at all do not count.
        places: of the modes of each key among the q, empty for keys without modes.
        runs: pairs of ranges, among the p and among the q, of modes that lie side by side.
        total: p.
    """

    modes: NDArray[np.intp]
    keys: list[int]
    places: dict[int, slice]
    runs: list[tuple[slice, slice]]
    total: int

    @property
    def everything(self) -> bool:
        """Whether these are all modes."""
        return len(self.modes) == self.total

    def of(self, values: NDArray[Array]) -> NDArray[Array]:
        """[.., q] values of these modes, from those of all, [.., p]; not a copy if all sound."""
        if self.everything:
            return values
        return np.concatenate([values[..., :0], *(values[..., modes] for modes, _ in self.runs)], axis=-1)

    def among_all(self, values: NDArray[Array]) -> NDArray[Array]:
        """[.., p] values of all modes, 0 for those that do not sound, from [.., q]."""
        everywhere = np.zeros((*values.shape[:-1], self.total), dtype=values.dtype)
        everywhere[..., self.modes] = values
        return everywhere

    def sums(self, values: NDArray[Array]) -> NDArray[Array]:
        """[.., keys] sums over the modes of each of `keys`, from [.., q]."""
        starts = [self.places[key].start for key in self.keys]
        if not starts:
            return np.zeros((*values.shape[:-1], 0), dtype=values.dtype)
        return np.asarray(np.add.reduceat(values, starts, axis=-1))

    def spread(self, values: NDArray[Array]) -> NDArray[Array]:
        """[.., q] values of the modes, from those of their `keys`, [.., n]."""
        sizes = [self.places[key].stop - self.places[key].start for key in self.keys]
        return np.repeat(values, sizes, axis=-1)


class Keys:
    """The keys of a piano, to find what sounds of them.

    Args:
        modes: range of the modes of each key.
    """

    def __init__(self, modes: list[slice]) -> None:
        self._modes = modes
        self._filled = {key for key, own in enumerate(modes) if own.start < own.stop}
        self._empty = dict.fromkeys(set(range(len(modes))) - self._filled, slice(0, 0))
        self._total = modes[-1].stop
        self._all = self._of(self._filled, set())
        self._last = (set[int](), set[int]()), self._of(set(), set())

    def sounding(self, ringing: Iterable[int], begun: Iterable[int]) -> Sounding:
        """What sounds of keys that ring as a block begins, and of those that begin within it.

        Whether all are played depends on the past alone, and keys that begin are products of their own: so
        what is added to samples before a strike is exactly 0.
        """
        old = self._filled.intersection(ringing)
        if sum(self._modes[key].stop - self._modes[key].start for key in old) > MOST * self._total:
            return self._all
        new = self._filled.intersection(begun) - old
        if self._last[0] != (old, new):  # often the same keys as in the block before
            self._last = (old, new), self._of(old | new, new)
        return self._last[1]

    def _of(self, chosen: set[int], alone: set[int]) -> Sounding:
        """These keys, in runs of neighbours but for those that stay alone."""
        keys = sorted(chosen)
        ranges = [self._modes[key] for key in keys]
        sizes = [own.stop - own.start for own in ranges]
        ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.intp)]).tolist()
        own_places = (slice(*pair) for pair in pairwise(ends))
        places = self._empty | dict(zip(keys, own_places, strict=True))
        runs: list[tuple[slice, slice]] = []
        free = False  # whether the last run may go on
        for key, own in zip(keys, ranges, strict=True):
            here = places[key]
            if free and key not in alone and runs[-1][0].stop == own.start:
                first, among = runs.pop()
                own, here = slice(first.start, own.stop), slice(among.start, here.stop)
            runs.append((own, here))
            free = key not in alone
        every = np.arange(self._total)
        modes = np.concatenate([every[:0], *(every[own] for own in ranges)])
        return Sounding(modes, keys, places, runs, self._total)
