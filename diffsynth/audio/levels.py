"""Levels of a recording, and which part of it holds the performance."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.audio.files import Samples
from diffsynth.midi.dampers import Dampers
from diffsynth.midi.events import Events, to_samples

WINDOW = 0.1  # s
AT_ONCE = 100  # windows read at a time
LEAD = 0.5  # s kept before the first event ...
WORTH = 1.0  # ... if there is more than this
TAIL = 3.0  # s kept after the last event
REVERB = 5.0  # s after the last damper has fallen, when the room is silent, too
MARGIN = 0.5  # s kept after sound has died away
RANGE = 70.0  # dB below the loudest window, from where on nothing is heard
ABOVE_NOISE = 3.0  # dB above the quietest second after the last event, likewise
QUIET = 5.0  # percent of windows that are taken for the noise floor
LOWEST = -120.0  # dBFS, reported for digital silence


@dataclass(frozen=True)
class Levels:
    """Mean square and peak of the windows of a recording, [windows] each."""

    power: NDArray[np.float64]
    peak: NDArray[np.float64]

    def part(self, start: float, stop: float) -> "Levels":
        """The windows that begin from `start` to `stop` s, at least one."""
        first = min(round(max(start, 0) / WINDOW), len(self.power) - 1)
        chosen = slice(first, max(round(stop / WINDOW), first + 1))
        return Levels(self.power[chosen], self.peak[chosen])

    def summary(self) -> dict[str, Any]:
        """Peak, RMS and noise floor in dBFS: the level that all but the quietest windows exceed."""
        power = {"rms_dbfs": self.power.mean(), "noise_dbfs": np.percentile(self.power, QUIET)}
        values = {"peak_dbfs": self.peak.max() ** 2, **power}
        return {name: round(_decibels(value), 2) for name, value in values.items()}


def measure_levels(audio: Samples, rate: int) -> Levels:
    """Levels of mono audio, [time], at `rate` Hz; the last window may be shorter."""
    size = round(WINDOW * rate)
    power, peak = [], []
    for start in range(0, len(audio), AT_ONCE * size):
        part = np.abs(audio[start : start + AT_ONCE * size])
        edges = np.arange(0, len(part), size)
        count = np.diff(edges, append=len(part))
        power.append(np.add.reduceat(np.square(part, dtype=np.float64), edges) / count)
        peak.append(np.maximum.reduceat(part, edges))
    return Levels(np.concatenate(power), np.concatenate(peak).astype(np.float64))


def performance_part(events: Events, levels: Levels) -> tuple[float, float]:
    """Where, in s of the audio, the performance of `events` (audio time) begins and has died away.

    The beginning may lie before that of the audio, the end may be infinite: nothing to cut.
    """
    first, last = float(events["time"][0]), float(events["time"][-1])
    begin = first - LEAD if first > WORTH else min(first, 0.0)
    end = max(last + TAIL, _died_away(levels, last) + MARGIN)
    if not _rings_on(events):
        # Whatever is heard later is not this piano.
        end = min(end, last + max(TAIL, REVERB))
    return begin, end


def _died_away(levels: Levels, last: float) -> float:
    """Time in s after which no window is heard any more."""
    tail = levels.power[round(max(last, 0) / WINDOW) :]
    second = round(1 / WINDOW)
    if len(tail) < second:
        return np.inf
    quietest = np.convolve(tail, np.full(second, 1 / second), "valid").min()
    limit = max(levels.power.max() * 10 ** (-RANGE / 10), quietest * 10 ** (ABOVE_NOISE / 10))
    audible = np.flatnonzero(levels.power > limit)
    return float((audible[-1] + 1) * WINDOW) if len(audible) else 0.0


def _rings_on(events: Events) -> bool:
    """Whether a key has no damper on it after the last event: held, or by a pedal."""
    dampers = Dampers()
    for _ in dampers.actions(to_samples(events, 1000)):
        pass
    return bool(dampers.ringing.any())


def _decibels(power: float) -> float:
    return float(10 * np.log10(max(power, 10 ** (LOWEST / 10))))
