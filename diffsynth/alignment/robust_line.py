"""A line through the attacks that belong to MIDI onsets, and whether its slope is more than chance.

Time is bent only where a drift is larger than three of its errors; otherwise the offset is constant. The
error has two parts: that of attacks, which err together for a while (`DEPENDENCE`), and the wandering lag of
a piano that plays back (`WANDER`).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, median_filter

from diffsynth.alignment.matching import Notes
from diffsynth.alignment.onsets import Curve

# Calibration against FluidSynth (two SoundFonts, 88 keys, velocities 15 to 120, alone and in music):
# what the curves show later than the note starts, in s, and how much that differs between
# performances (one standard deviation).
LATENCY = 0.0035
LATENCY_SPREAD = 0.0008

ALONE = 0.003  # s; of maxima closer together only the highest is an attack
WEAKEST = 0.05  # of the strongest attack, below which there is none
CHORD = 0.003  # s; onsets closer together have one attack
WINDOWS = (0.03, 0.02, 0.02, 0.02, 0.02)  # s, largest distance of a MIDI onset to its attack, per round
HEARD = 0.05  # s, the same for the residual that is reported
TUKEY = 4.685  # the biweight's constant: 95 % efficiency for normal errors
# Neighbouring attacks err alike (a soft passage is found later), so errors are larger than those of
# as many independent attacks; measured on stretches of 30 to 300 s.
DEPENDENCE = 2.5
FEWEST = 8  # attacks that may hold a drift, and notes that rises of keys can prove
SHARPEST = 2e-4  # s, scale of errors below which all attacks count
LARGEST_DRIFT_ERROR = 60.0  # ppm; where it is larger, drift is taken to be 0 while attacks are looked for
SIGNIFICANT = 3.0  # errors that a drift has to exceed to be applied, and a shift to be corrected

# A piano that plays MIDI back strikes some milliseconds around a lag, and the lag itself wanders, which
# looks like a drift. The sharpest attacks tell it: after FluidSynth, also in noise or reverberation, 68 % of
# them are within 1.33 ms of a moving median, on a Disklavier within 1.93 ms at best. There (32 recordings of
# 29 to 306 s) a line through all attacks moved from the first to the last note by 6 ms (root mean square),
# 3 times what its scatter exceeds FluidSynth's by. 5 times is taken.
SHARP_SHARE = 0.1
FEWEST_SHARP = 16
MOVING = 15  # sharp attacks whose median is the lag at one of them
ONE_DEVIATION = 0.68  # share of normal errors within one standard deviation
SCATTER = 0.0015  # s, of attacks that have no scatter of their own
WANDER = 5.0


@dataclass(frozen=True)
class Line:
    """Audio time = offset + (1 + drift * 1e-6) * MIDI time.

    `offset` in s, `drift` in ppm with their errors, `drift_found` before it was judged, and the median
    `residual` of onsets in s.
    """

    offset: float
    drift: float
    offset_error: float
    drift_error: float
    residual: float
    drift_found: float = 0.0

    def audio_time(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Audio time in s of MIDI time in s."""
        return self.offset + (1 + self.drift * 1e-6) * time


@dataclass(frozen=True)
class _Attacks:
    """Attacks in the audio: times in s, and how sharp each is."""

    time: NDArray[np.float64]
    height: NDArray[np.float32]


@dataclass(frozen=True)
class _Pairs:
    """Onsets that have an attack: MIDI times in s, how much later it is than a line says, how sharp it is."""

    time: NDArray[np.float64]
    delay: NDArray[np.float64]
    height: NDArray[np.float32]


def refine(curve: Curve, step: float, notes: Notes, offset: float, drift: float) -> Line:
    """Line through the attacks that belong to MIDI onsets, from a line near it."""
    struck = _chords(notes)
    attacks = _peaks(curve, step)
    line = Line(offset, drift, LATENCY_SPREAD, 0.0, np.inf)
    for window in WINDOWS:
        pairs = _pairs(struck, attacks, line, window)
        if not len(pairs.time):
            return line
        line = _fit(pairs.time, pairs.delay, line)
    line = _with_certain_drift(_pairs(struck, attacks, line, WINDOWS[-1]), line)
    delay = _pairs(struck, attacks, line, HEARD).delay
    return replace(line, residual=float(np.median(np.abs(delay))))


def _with_certain_drift(pairs: _Pairs, line: Line) -> Line:
    """`line` with its drift if that is significant, otherwise the best one without."""
    if len(pairs.time) < FEWEST:
        return line
    free = _biweight(pairs.time, pairs.delay, slope=True)
    rest = pairs.delay - free.offset - free.drift * 1e-6 * pairs.time
    error = float(np.hypot(free.drift_error, _wander(pairs, rest)))
    found = float(line.drift + free.drift)
    if abs(found) < SIGNIFICANT * error:
        line = _without_drift(pairs.time, pairs.delay, line)
    else:
        line = replace(free, offset=line.offset + free.offset, drift=found)
    return replace(line, drift_found=found, drift_error=error)


def _wander(pairs: _Pairs, rest: NDArray) -> float:
    """Drift in ppm, one standard deviation, that a lag which wanders looks like."""
    count = max(round(SHARP_SHARE * len(rest)), FEWEST_SHARP)
    sharp = rest[np.sort(np.argsort(-pairs.height, kind="stable")[:count])]
    around = np.abs(sharp - median_filter(sharp, MOVING, mode="nearest"))
    scatter = float(np.quantile(around, ONE_DEVIATION))
    own = np.sqrt(max(scatter**2 - SCATTER**2, 0.0))
    return float(WANDER * own / max(np.ptp(pairs.time), 1e-9) * 1e6)


def _chords(notes: Notes) -> NDArray[np.float64]:
    """Times of onsets, in s; those closer than `CHORD` are one, loud notes counting more."""
    starts = np.flatnonzero(np.diff(notes.time, prepend=-np.inf) > CHORD)
    weight = notes.velocity**2
    return np.add.reduceat(notes.time * weight, starts) / np.add.reduceat(weight, starts)


def _peaks(curve: Curve, step: float) -> _Attacks:
    """The curve's maxima that are more than noise and highest within `ALONE`."""
    threshold = max(np.median(curve), WEAKEST * curve.max())
    before, here, after = curve[:-2], curve[1:-1], curve[2:]
    highest = maximum_filter1d(curve, 2 * round(ALONE / step) + 1)[1:-1]
    index = np.flatnonzero((here > before) & (here >= after) & (here == highest) & (here > threshold))
    left, top, right = (x[index].astype(np.float64) for x in (before, here, after))
    time = (index + 1 + 0.5 * (left - right) / (left - 2 * top + right)) * step
    return _Attacks(time - LATENCY, here[index])


def _pairs(onsets: NDArray, attacks: _Attacks, line: Line, window: float) -> _Pairs:
    """Onsets and attacks that are nearest to each other, within a window in s."""
    if not len(attacks.time):
        return _Pairs(np.zeros(0), np.zeros(0), np.zeros(0, np.float32))
    expected = line.offset + (1 + line.drift * 1e-6) * onsets
    attack = _nearest(attacks.time, expected)
    delay = attacks.time[attack] - expected
    mutual = _nearest(expected, attacks.time)[attack] == np.arange(len(onsets))
    paired = mutual & (np.abs(delay) < window)
    return _Pairs(onsets[paired], delay[paired], attacks.height[attack][paired])


def _nearest(sorted_values: NDArray, wanted: NDArray) -> NDArray[np.int64]:
    """Index of the value nearest to each wanted one."""
    right = np.clip(np.searchsorted(sorted_values, wanted), 1, max(len(sorted_values) - 1, 1))
    if len(sorted_values) == 1:
        return np.zeros(len(wanted), np.int64)
    left = right - 1
    return np.where(wanted - sorted_values[left] <= sorted_values[right] - wanted, left, right)


def _fit(time: NDArray, delay: NDArray, line: Line) -> Line:
    """`line` corrected by what is left; without drift where that could be anything."""
    fitted = _biweight(time, delay, slope=True) if len(time) >= FEWEST else None
    if fitted is None or fitted.drift_error > LARGEST_DRIFT_ERROR:
        return _without_drift(time, delay, line)
    return replace(fitted, offset=line.offset + fitted.offset, drift=line.drift + fitted.drift)


def _without_drift(time: NDArray, delay: NDArray, line: Line) -> Line:
    """The best line without drift near `line`."""
    fitted = _biweight(time, delay + line.drift * 1e-6 * (time - time.mean()), slope=False)
    offset = line.offset + line.drift * 1e-6 * float(time.mean())
    return replace(fitted, offset=offset + fitted.offset, drift=0.0)


def _biweight(time: NDArray, delay: NDArray, slope: bool) -> Line:
    """Line through delays, in s, by least squares iterated with Tukey's biweights."""
    centre, gradient, middle = float(np.median(delay)), 0.0, float(time.mean())
    before = None
    for _ in range(20):
        if before == (before := (centre, gradient, middle)):
            break  # nothing would change any more
        rest = delay - centre - gradient * (time - middle)
        scale = max(1.4826 * float(np.median(np.abs(rest))), SHARPEST)
        weight = np.maximum(1 - (rest / (TUKEY * scale)) ** 2, 0) ** 2
        total = weight.sum()
        middle = float((weight * time).sum() / total)
        centre = float((weight * delay).sum() / total)
        spread = max(float((weight * (time - middle) ** 2).sum()), 1e-12)
        if slope:
            gradient = float((weight * (time - middle) * (delay - centre)).sum() / spread)
    drift_error = DEPENDENCE * scale / np.sqrt(spread) * 1e6 if slope else 0.0
    offset_error = float(np.hypot(LATENCY_SPREAD, DEPENDENCE * scale / np.sqrt(total)))
    return Line(centre - gradient * middle, gradient * 1e6, offset_error, float(drift_error), np.inf)
