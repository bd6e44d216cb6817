"""How loud and how bright strikes become with velocity: one law for all keys, by frequency.

Measured on strikes that stand alone: in every octave, the power after the onset is that before it and that of
the strike, which grows with velocity by one exponent, and has a level for each key. Strikes that are hardly
louder than what was there before count as well: without them, those soft ones would stay that happen to be
loud, and the exponent would come out too low. Of a sampled piano that is played louder by a gain, all octaves
grow alike; felt hardens the faster it hits, so that on a real one the highest partials grow with three times
the exponent of the lowest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from diffsynth.fitting.takes import Take
from diffsynth.midi.events import KEYS
from diffsynth.midi.strikes import soundings
from diffsynth.piano.piano import COLOUR_AT, REFERENCE_VELOCITY, colours

BEFORE, AFTER = 0.03, 0.075  # s around a strike in which no other key may be struck; its power is taken after
LOUDER = 10.0  # times the power before it: strikes that bring so much to an octave tell of it
FAINT = 1e-14  # power that is added to both, far below what can be heard
CORNER = 0.5  # nepers of power, above which differences count by their size alone
STEEPEST = 10.0  # exponent that no octave exceeds
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
        keys, velocities, before, after = (np.array(column) for column in zip(*found, strict=True))
        velocity = np.log(velocities / REFERENCE_VELOCITY)
        octaves = zip((before + FAINT).T, (after + FAINT).T, strict=True)
        slopes = np.array([_exponent(keys, velocity, old, new) for old, new in octaves])
    known = np.isfinite(slopes)
    if not known.any():
        return VelocityLaw(np.full(KEYS, otherwise), np.zeros(len(COLOUR_AT)))
    everywhere = np.interp(np.arange(len(slopes)), np.flatnonzero(known), slopes[known])
    return VelocityLaw(np.full(KEYS, everywhere[0]), everywhere - everywhere[0])


def _exponent(keys: NDArray[np.int64], velocity: Real, old: Real, new: Real) -> float:
    """Exponent of amplitude with which `new` power is `old` power and that of strikes; NaN if that is open.

    Args:
        keys: [n] of the strikes.
        velocity: [n] their log velocities, 0 at the velocity of reference.
        old: [n] power before each strike.
        new: [n] power after it.
    """
    clear = new > LOUDER * old
    heard = np.isin(keys, keys[clear])
    spread = velocity - _means(keys, velocity)
    if spread[clear] @ spread[clear] <= SPREAD:
        return np.nan
    _, row = np.unique(keys[heard], return_inverse=True)
    velocity, old, new = velocity[heard], old[heard], new[heard]
    count = row.max() + 1
    own = np.arange(count) == row[:, None]

    def strikes(unknown: Real) -> Real:
        return np.exp(unknown[row] + 2 * unknown[-1] * velocity)

    def difference(unknown: Real) -> Real:
        return np.log((old + strikes(unknown)) / new)

    def slope(unknown: Real) -> Real:
        share = strikes(unknown) / (old + strikes(unknown))
        return share[:, None] * np.column_stack([own, 2 * velocity])

    level = np.log(np.bincount(row, new) / np.bincount(row))
    reach = np.append(np.full(count, np.inf), STEEPEST)
    begin = np.append(level, 1.0)
    lowest = np.append(np.full(count, -np.inf), 0.0)
    found = least_squares(
        difference, begin, slope, bounds=(lowest, reach), loss="huber", f_scale=CORNER, max_nfev=100
    )
    return float(found.x[-1])


def _means(keys: NDArray[np.int64], values: Real) -> Real:
    """[n] mean over the strikes of the key that each value belongs to."""
    count = np.bincount(keys, minlength=KEYS)
    return np.asarray((np.bincount(keys, values, minlength=KEYS) / np.maximum(count, 1))[keys])


def _alone(recording: Take) -> Iterator[tuple[int, int, Real, Real]]:
    """Key and velocity of strikes that stand alone, and the power in octaves before and after them."""
    before, after = round(BEFORE * recording.rate), round(AFTER * recording.rate)
    notes = soundings(recording.events, len(recording.audio))
    onsets = np.sort(notes["onset"])
    for key, velocity, onset, _, end in notes.tolist():
        first, last = np.searchsorted(onsets, [onset - before, onset + after])
        if last - first == 1 and before <= onset and onset + after <= end:
            pieces = recording.audio[onset - before : onset], recording.audio[onset : onset + after]
            yield key, velocity, *(_octaves(piece, recording.rate) for piece in pieces)


def _octaves(audio: NDArray[np.float32], rate: int) -> Real:
    """[6] mean power of a piece of audio in the octaves around `COLOUR_AT`, 0 above half of its rate."""
    power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2 / len(audio) ** 2
    frequency = np.fft.rfftfreq(len(audio), 1 / rate)
    octave = np.rint(np.log2(np.maximum(frequency, COLOUR_AT[0]) / COLOUR_AT[0])).astype(np.int64)
    return np.bincount(octave, power, minlength=len(COLOUR_AT))[: len(COLOUR_AT)].astype(np.float64)
