"""Messages on their way from the thread of a MIDI port to that of the engine."""

from collections import deque

import numpy as np

from diffsynth.live.clock import Clock, now
from diffsynth.live.messages import Decoder, Row
from diffsynth.midi.events import SAMPLE_EVENT, Events


class Inbox:
    """Keeps messages with the time at which they arrived.

    Appending to a deque and taking from its other end are indivisible in CPython.

    Args:
        rate: of the voice, Hz.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._decoder = Decoder()
        self._arrived: deque[tuple[float, list[Row]]] = deque()

    def put(self, message: list[int], moment: float | None = None) -> None:
        """A complete message, as bytes, has arrived: now, or at a `moment` on the wall."""
        stamp = now() if moment is None else moment
        rows = self._decoder.rows(message)
        if rows:
            self._arrived.append((stamp, rows))

    def take(self, end: int, clock: Clock) -> Events:
        """See `diffsynth.live.sources.Source`."""
        found = []
        while self._arrived:
            stamp, rows = self._arrived[0]
            position = int(clock.position(stamp) * self._rate)
            if position >= end:
                break
            self._arrived.popleft()
            found += [(position, *row) for row in rows]
        return np.array(found, dtype=SAMPLE_EVENT)
