"""Amplitudes of the modes that sound, at the frame borders of one block.

Without events they are the first ones times powers of a constant. An event changes those of its key from its
border on. A key that does not sound has no amplitudes, and events but strikes do nothing to it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffsynth.piano.sounding import Sounding

Complex = NDArray[np.complex64]


class Borders:
    """What is held and what is released of q modes, [f + 1, q] each.

    Args:
        sounding: the modes.
        amplitude: [2, q] held and released at the start of the block.
        free: [f + 1, q] factors by which free modes change over 0, 1, .. frames.
        damped: [f + 1, q] the same for damped ones.
    """

    def __init__(self, sounding: Sounding, amplitude: Complex, free: Complex, damped: Complex) -> None:
        self._places, self._free, self._damped = sounding.places, free, damped
        self.held, self.released = amplitude[0] * free, amplitude[1] * damped

    def held_of(self, key: int, border: int) -> Complex:
        """What is held of a key that sounds."""
        part: Complex = self.held[border, self._places[key]]
        return part

    def hold(self, key: int, border: int, amplitude: Complex) -> None:
        """Add to what is held of a key that sounds, from a border on."""
        self._spread(self.held, self._free, border, self._places[key], amplitude)

    def add_released(self, key: int, border: int, amplitude: Complex) -> None:
        """Add to what is released of a key that sounds, from a border on."""
        self._spread(self.released, self._damped, border, self._places[key], amplitude)

    def release(self, keys: Sequence[int], border: int) -> None:
        """From a border on, what is held of some keys counts as released."""
        places = [self._places[key] for key in keys if key in self._places]
        if not places:
            return
        modes: slice | NDArray[np.intp] = places[0]
        if len(places) > 1:
            modes = np.concatenate([np.arange(own.start, own.stop) for own in places])
        self._spread(self.released, self._damped, border, modes, self.held[border, modes])
        self.held[border:, modes] = 0

    def keep(self, key: int, border: int, last: Complex) -> None:
        """From a border on, all that is held of a key that sounds but for `last` counts as released."""
        modes = self._places[key]
        self._spread(self.released, self._damped, border, modes, self.held[border, modes] - last)
        self.held[border:, modes] = 0
        self._spread(self.held, self._free, border, modes, last)

    def __contains__(self, key: int) -> bool:
        return key in self._places

    @staticmethod
    def _spread(
        borders: Complex,
        powers: Complex,
        first: int,
        modes: "slice | NDArray[np.intp]",
        amplitude: Complex,
    ) -> None:
        """Add an amplitude at one border, and what becomes of it at the borders after it."""
        borders[first:, modes] += amplitude * powers[: len(borders) - first, modes]
