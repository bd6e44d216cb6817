"""When a performance is over: not when its last event comes, but when its sound has died away."""

import numpy as np
from numpy.typing import NDArray

SILENCE = 1e-4  # of the highest sample so far (-80 dB): below it nothing is heard
WHILE = 0.5  # s for which it stays below
LONGEST = 60.0  # s after the last event, whatever still sounds


class Fading:
    """Follows the level of a performance.

    Args:
        rate: of the samples, Hz.
    """

    def __init__(self, rate: int) -> None:
        self._while, self._longest = WHILE * rate, LONGEST * rate
        self._peak, self._quiet, self._after = 0.0, 0, 0

    def add(self, audio: NDArray[np.float32], events: int) -> None:
        """Hear the next samples, in which there was a number of events."""
        level = float(np.abs(audio).max(initial=0))
        self._peak = max(self._peak, level)
        self._quiet = self._quiet + len(audio) if level <= SILENCE * self._peak else 0
        self._after = 0 if events else self._after + len(audio)

    @property
    def silent(self) -> bool:
        """Whether it is over, provided that no event is to come."""
        return self._quiet >= self._while or self._after >= self._longest
