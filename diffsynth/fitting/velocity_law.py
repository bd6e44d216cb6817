"""How loud and how bright strikes become with velocity: one law for all keys, by frequency.

Measured on strikes that stand alone: power in octaves after the onset, on velocity, within every key. Of
a sampled piano that is played louder by a gain, all octaves grow alike; felt hardens the faster it hits, so
that on a real one the highest partials grow with two or three times the exponent of the lowest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.takes import Take
from diffsynth.midi.events import KEYS
from diffsynth.midi.strikes import soundings
from diffsynth.piano.piano import COLOUR_AT, REFERENCE_VELOCITY, colours

BEFORE, AFTER = 0.03, 0.075  # s around a strike in which no other key may be struck; its power is taken after
LOUDER = 10.0  # times the power before it, per second, that a strike must bring to an octave
SPREAD = 1.0  # sum of squared log velocities around the means of keys, from which on an octave tells anything
Real = NDArray[np.float64]


@dataclass(frozen=True)
class VelocityLaw:
    """Exponents of velocity: [88] of keys, and [6] what `COLOUR_AT` adds to them, as in a `Piano`."""

    exponent: Real
    colour: Real

    def exponents(self, key: int, frequency: Real) -> Real:
        """[p] of modes of a key at some frequencies in Hz."""
        return np.asarray(self.exponent[key] + colours(frequency, self.colour))


def measure_law(recordings: Sequence[Take], otherwise: float) -> VelocityLaw:
    """The law of some recordings; the exponent `otherwise` for all where too few strikes stand alone."""
    found = [row for recording in recordings for row in _alone(recording)]
    slopes = np.full(len(COLOUR_AT), np.nan)
    if found:
        keys, velocities, levels = (np.array(column) for column in zip(*found, strict=True))
        velocity = np.log(velocities / REFERENCE_VELOCITY)
        slopes = np.array([_slope(keys, velocity, level) for level in levels.T])
    known = np.isfinite(slopes)
    if not known.any():
        return VelocityLaw(np.full(KEYS, otherwise), np.zeros(len(COLOUR_AT)))
    everywhere = np.interp(np.arange(len(slopes)), np.flatnonzero(known), slopes[known])
    return VelocityLaw(np.full(KEYS, everywhere[0]), everywhere - everywhere[0])


def _slope(keys: NDArray[np.int64], velocity: Real, level: Real) -> float:
    """Slope of log level on log velocity within keys; NaN if it cannot be told."""
    heard = np.isfinite(level)
    keys, velocity, level = keys[heard], velocity[heard], level[heard]
    x, y = (values - _means(keys, values) for values in (velocity, level))
    return float(x @ y / (x @ x)) if x @ x > SPREAD else np.nan


def _means(keys: NDArray[np.int64], values: Real) -> Real:
    """[n] mean over the strikes of the key that each value belongs to."""
    count = np.bincount(keys, minlength=KEYS)
    return np.asarray((np.bincount(keys, values, minlength=KEYS) / np.maximum(count, 1))[keys])


def _alone(recording: Take) -> Iterator[tuple[int, int, Real]]:
    """Key, velocity and log level in octaves of strikes that stand alone; NaN where others are louder."""
    before, after = round(BEFORE * recording.rate), round(AFTER * recording.rate)
    notes = soundings(recording.events, len(recording.audio))
    onsets = np.sort(notes["onset"])
    for key, velocity, onset, _, end in notes.tolist():
        first, last = np.searchsorted(onsets, [onset - before, onset + after])
        if last - first == 1 and before <= onset and onset + after <= end:
            old = _octaves(recording.audio[onset - before : onset], recording.rate)
            new = _octaves(recording.audio[onset : onset + after], recording.rate)
            level = np.full(len(new), np.nan)
            clear = new > LOUDER * old
            level[clear] = 0.5 * np.log(new[clear])
            yield key, velocity, level


def _octaves(audio: NDArray[np.float32], rate: int) -> Real:
    """[6] mean power of a piece of audio in the octaves around `COLOUR_AT`, 0 above half of its rate."""
    power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2 / len(audio) ** 2
    frequency = np.fft.rfftfreq(len(audio), 1 / rate)
    octave = np.rint(np.log2(np.maximum(frequency, COLOUR_AT[0]) / COLOUR_AT[0])).astype(np.int64)
    return np.bincount(octave, power, minlength=len(COLOUR_AT))[: len(COLOUR_AT)].astype(np.float64)
