"""Where events come from; here a performance in a file, `diffsynth.live.ports` for a keyboard."""

from typing import Protocol

import numpy as np

from diffsynth.live.clock import Clock
from diffsynth.midi.events import Events, to_samples


class Source(Protocol):
    """Gives each event once, to the one thread that takes."""

    def take(self, end: int, clock: Clock) -> Events:
        """`SAMPLE_EVENT` array of what has come up to the position `end`; positions in the stream."""
        ...

    def ended(self, position: int) -> bool:
        """Whether nothing comes any more from `position` on."""
        ...

    def failure(self) -> str | None:
        """What is wrong with it, if it can give no more."""
        ...

    def close(self) -> None:
        """Let go of what it reads from."""
        ...


class FileSource:
    """A performance that plays itself: every event comes at its time, exactly.

    Args:
        events: times in seconds, in order.
        rate: of the voice, Hz.
        begin: position of the performance's time 0.
    """

    def __init__(self, events: Events, rate: int, begin: int) -> None:
        self._events = to_samples(events, rate)
        self._events["position"] += begin
        self._end = int(self._events["position"].max(initial=begin)) + 1
        self._next = 0

    def take(self, end: int, clock: Clock) -> Events:  # noqa: ARG002
        """See `Source`."""
        last = int(np.searchsorted(self._events["position"], end))
        part = self._events[self._next : last].copy()
        self._next = max(self._next, last)
        return part

    def ended(self, position: int) -> bool:
        """See `Source`."""
        return position >= self._end

    def failure(self) -> None:
        """See `Source`."""

    def close(self) -> None:
        """See `Source`."""
