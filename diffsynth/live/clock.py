"""How stream time and the clock on the wall relate.

A device asks for samples at regular times, but the thread that answers wakes up late by chance. A
delay-locked loop of second order (F. Adriaensen, "Using a DLL to filter time", 2005) follows the mean:
what it says is free of that jitter, and follows the true rate of the device.
"""

import math
import time

BANDWIDTH = 0.5  # Hz of the loop: it averages over some dozens of requests
LOST = 0.25  # s off beyond which the loop starts again: the device, or the machine, has slept

now = time.perf_counter  # the clock on the wall, s


class Clock:
    """Written by the thread of the sink, read by any other: the anchor is replaced as a whole."""

    def __init__(self) -> None:
        # Stream time, time on the wall, and seconds on the wall for a second of the stream.
        self._anchor = (0.0, now(), 1.0)
        self._expected: float | None = None
        self._speed = 1.0

    def set(self, position: float, moment: float) -> None:
        """At `moment` (s on the wall) the stream stands at `position` (s)."""
        self._anchor = (position, moment, 1.0)

    def follow(self, position: float, duration: float, moment: float) -> None:
        """A device asked at about `moment` for the `duration` seconds from `position` on."""
        error = LOST if self._expected is None else moment - self._expected
        if abs(error) >= LOST:
            self._expected, self._speed, error = moment, 1.0, 0.0
        omega = 2 * math.pi * BANDWIDTH * duration
        assert self._expected is not None
        self._anchor = (position, self._expected, self._speed)
        self._expected += math.sqrt(2) * omega * error + duration * self._speed
        self._speed += omega**2 * error / duration

    def position(self, moment: float) -> float:
        """Stream time, s, at a moment on the wall."""
        position, anchor, speed = self._anchor
        return position + (moment - anchor) / speed

    def moment(self, position: float) -> float:
        """When, on the wall, the stream stands at a position (s)."""
        begin, anchor, speed = self._anchor
        return anchor + (position - begin) * speed
