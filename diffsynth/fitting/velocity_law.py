"""How loud and how bright strikes become with velocity: one law for all keys, by frequency.

Measured on strikes that stand alone: in every octave, the power after the onset is that before it and that of
the strike, which grows with velocity by one exponent, and has a level for each key. Strikes that are hardly
louder than what was there before count as well: without them, those soft ones would stay that happen to be
loud, and the exponent would come out too low. Of a sampled piano that is played louder by a gain, all octaves
grow alike; felt hardens the faster it hits, so that on a real one the highest partials grow with three times
the exponent of the lowest. Some instruments have a softest strike, below which velocity changes nothing.
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
SOFTEST = np.arange(3, 49, 3)  # velocities below which strikes may become no softer
FLATTER = 0.01  # of the differences: what a softest strike must explain of them
ALIKE = 0.002  # of those that are left: velocities that leave so little more than the best are as good
SPREAD = 1.0  # sum of squared log velocities around the means of keys, from which on an octave tells anything
Real = NDArray[np.float64]


@dataclass(frozen=True)
class VelocityLaw:
    """Exponents of velocity: [88] of keys, and [6] what `COLOUR_AT` adds; `softest` is that of a `Piano`."""

    exponent: Real
    colour: Real
    softest: float = 1.0

    def exponents(self, key: int, frequency: Real) -> Real:
        """[p] of modes of a key at some frequencies in Hz."""
        return np.asarray(self.exponent[key] + colours(frequency, self.colour))

    def gains(self, key: int, velocity: float, frequency: Real) -> Real:
        """[p] of modes of a key in a strike, 1 at the velocity of reference."""
        hardness = max(velocity, self.softest) / REFERENCE_VELOCITY
        return np.asarray(hardness ** self.exponents(key, frequency))


@dataclass(frozen=True)
class Strikes:
    """Strikes that stand alone: [n] `key` and `velocity`, [n, 6] power in octaves `before` and `after`."""

    key: NDArray[np.int64]
    velocity: Real
    before: Real
    after: Real


def measure_law(recordings: Sequence[Take], otherwise: float) -> VelocityLaw:
    """The law of some recordings; the exponent `otherwise` for all where too few strikes stand alone."""
    found = [row for recording in recordings for row in _alone(recording)]
    slopes, softest = np.full(len(COLOUR_AT), np.nan), 1.0
    if found:
        strikes = Strikes(*(np.array(column) for column in zip(*found, strict=True)))
        softest = _softest(strikes)
        slopes, _ = _slopes(strikes, softest)
    known = np.isfinite(slopes)
    if not known.any():
        return VelocityLaw(np.full(KEYS, otherwise), np.zeros(len(COLOUR_AT)), softest)
    everywhere = np.interp(np.arange(len(slopes)), np.flatnonzero(known), slopes[known])
    return VelocityLaw(np.full(KEYS, everywhere[0]), everywhere - everywhere[0], softest)


def _softest(strikes: Strikes) -> float:
    """Velocity below which strikes do not become softer; 1 if none explains them better than that."""
    slopes, plain = _slopes(strikes, 1.0)
    left = {}
    for velocity in SOFTEST[strikes.velocity.min() < SOFTEST].tolist():
        others, rest = _slopes(strikes, velocity)
        if np.array_equal(np.isnan(others), np.isnan(slopes)):
            left[float(velocity)] = rest
    least = min(left.values(), default=plain)
    if least >= (1 - FLATTER) * plain:
        return 1.0
    return min(velocity for velocity, rest in left.items() if rest <= (1 + ALIKE) * least)


def _slopes(strikes: Strikes, softest: float) -> tuple[Real, float]:
    """[6] exponent of every octave, and how much of the differences all of them leave."""
    velocity = np.log(np.maximum(strikes.velocity, softest) / REFERENCE_VELOCITY)
    octaves = zip((strikes.before + FAINT).T, (strikes.after + FAINT).T, strict=True)
    found = [_exponent(strikes.key, velocity, old, new) for old, new in octaves]
    return np.array([slope for slope, _ in found]), sum(left for _, left in found)


def _exponent(keys: NDArray[np.int64], velocity: Real, old: Real, new: Real) -> tuple[float, float]:
    """Exponent of amplitude with which `new` power is `old` power and that of strikes; NaN if that is open.

    Also the differences that it leaves, squared, large ones by their size alone.

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
        return np.nan, 0.0
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
    return float(found.x[-1]), float(found.cost)


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
