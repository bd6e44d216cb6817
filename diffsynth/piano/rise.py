"""Strikes that rise instead of beginning with a step.

A hammer takes about a millisecond to set a string in motion, where a sum of modes may begin anywhere. With a
rise of r (1/s) a strike is heard times 1 - exp(-r t). What that takes away is modes as well, which decay
faster by r; they are played with the opposite sign, frame by frame, until they are gone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffsynth.piano.excitation import Rising, Strike

GONE = 8.0  # time constants, after which 3e-4 is left


class Rises:
    """Follows strikes until they have risen.

    Args:
        rise: 1/s; 0 for strikes that begin with a step.
        pole: [p] of the modes, per sample.
        rate: samples per second.
        frame: samples in a frame.
    """

    def __init__(self, rise: float, pole: NDArray[np.complex128], rate: int, frame: int) -> None:
        self._loss, self._pole, self._frame = rise / rate, pole, frame
        self.fade = np.exp(-self._loss * np.arange(frame)).astype(np.float32)
        self._longest = round(GONE / self._loss) if rise else 0
        self.young: list[tuple[int, Strike]] = []
        """Strikes that still rise, and the sample at which they began, from the start of the next block."""

    def process(self, strikes: Sequence[Strike], frames: int) -> list[Rising]:
        """What the next block lacks of its strikes and of those before it."""
        if not self._longest:
            return []
        young = self.young + [(strike.frame * self._frame + strike.offset, strike) for strike in strikes]
        end = frames * self._frame
        self.young = [(at - end, strike) for at, strike in young if at + self._longest > end]
        return [part for at, strike in young for part in self._parts(at, strike, frames)]

    def _parts(self, at: int, strike: Strike, frames: int) -> list[Rising]:
        """By frames of the block, from sample `at` on."""
        parts = []
        for frame in range(max(at // self._frame, 0), frames):
            begin = max(frame * self._frame, at)
            if begin - at >= self._longest:
                break
            turn = np.exp((self._pole[strike.modes] - self._loss) * (begin - at))
            amplitude = (strike.amplitude * turn).astype(np.complex64)
            parts.append(Rising(frame, begin - frame * self._frame, strike.key, strike.modes, amplitude))
        return parts
