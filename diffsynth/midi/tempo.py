"""How long ticks last: the tempo map of a piece, or the frames of a film."""

from bisect import bisect_right
from collections.abc import Iterable

DEFAULT = 500_000  # microseconds for a quarter note where a file says nothing: 120 in a minute
MICROSECONDS = 1_000_000
DROP_FRAME = 29  # stands for 30000 / 1001 frames in a second


class TempoMap:
    """Seconds of every tick, exact to the last bit of a float: they are ratios of whole numbers.

    Args:
        division: 16 bits of the header: ticks of a quarter note, or frames in a second and ticks of a frame.
        changes: (tick, microseconds for a quarter note), by tick; of several at one tick the last holds.

    Raises:
        ValueError: the division gives ticks no length.
    """

    def __init__(self, division: int, changes: Iterable[tuple[int, int]]) -> None:
        self._ticks, self._elapsed, self._tempos = [0], [0], [DEFAULT]
        if division & 0x8000:
            self._tempos[0], self._unit = _frames(division)
            changes = ()
        else:
            self._unit = division * MICROSECONDS
        if not self._unit:
            raise ValueError("its header gives a tick no length")
        for tick, tempo in changes:
            self._elapsed.append(self._elapsed[-1] + (tick - self._ticks[-1]) * self._tempos[-1])
            self._ticks.append(tick)
            self._tempos.append(tempo)

    def seconds(self, tick: int) -> float:
        """Time of a tick in s."""
        index = bisect_right(self._ticks, tick) - 1
        return (self._elapsed[index] + (tick - self._ticks[index]) * self._tempos[index]) / self._unit


def _frames(division: int) -> tuple[int, int]:
    """Length of a tick in s, as numerator and denominator."""
    rate, ticks = 256 - (division >> 8), division & 0xFF
    return (1001, 30_000 * ticks) if rate == DROP_FRAME else (1, rate * ticks)
