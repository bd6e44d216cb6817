"""The end of a performance: the moment when its sound has died away after the last event."""

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

    def add(self, audio: NDArray[np.float32], events: int, rest: float = 0.0) -> None:
        """Update with the next samples and the number of events in them.

        Samples up to `rest` in amplitude are those of the room, which is always heard.
        """
        level = float(np.abs(audio).max(initial=0))
        self._peak = max(self._peak, level)
        self._quiet = self._quiet + len(audio) if level <= max(SILENCE * self._peak, rest) else 0
        self._after = 0 if events else self._after + len(audio)

    @property
    def silent(self) -> bool:
        """Whether the sound has died away, if no event follows."""
        return self._quiet >= self._while or self._after >= self._longest
