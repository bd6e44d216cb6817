"""How the clock of a recording relates to that of its MIDI file.

    audio time = offset + (1 + drift * 1e-6) * MIDI time        (s, s, ppm, s)

Three steps, from what cannot go wrong to what is exact:

1. `search`: a velocity-weighted train of MIDI onsets, one row per key, is correlated (FFT) with the
   rises of the keys in the audio, in stretches of 20 s; the correlations are added along every line
   of offset and drift. Keys make the peak unmistakable, for wrongly paired files there is none.
2. `_centre`: the attack curve at all MIDI onsets, averaged, is highest at the right offset.
3. `_refine`: each MIDI onset meets the attack nearest to it (and nearest from both sides), found
   between two steps of the curve by a parabola; a line through the differences, by iterated Tukey
   biweights, gives offset and drift.

A performance is rejected where its MIDI onsets are not heard in the audio at the place found.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from diffsynth.alignment.config import Align
from diffsynth.alignment.key_recognition import recognise
from diffsynth.alignment.matching import Notes, Search, heard, onsets, search, search_few
from diffsynth.alignment.onsets import KEY_STEP, Curve, KeyCurves, attack_curve, loudness_rise
from diffsynth.audio.files import BLOCK, Samples
from diffsynth.midi.events import Events

# Calibration against FluidSynth (two SoundFonts, 88 keys, velocities 15 to 120, alone and in music):
# what the curves show later than the note starts, in s, and how much that differs between
# performances (one standard deviation).
LATENCY = 0.0035
LATENCY_SPREAD = 0.0008

ALONE = 0.003  # s; of maxima closer together only the highest is an attack
WEAKEST = 0.05  # of the strongest attack, below which there is none
CHORD = 0.003  # s; onsets closer together have one attack
REACH = 0.06  # s around the searched offset, where the centre is looked for
WINDOWS = (0.03, 0.02, 0.02, 0.02, 0.02)  # s, largest distance of a MIDI onset to its attack, per round
HEARD = 0.05  # s, the same for the residual that is reported
TUKEY = 4.685  # the biweight's constant: 95 % efficiency for normal errors
# Neighbouring attacks err alike (a soft passage is found later), so errors are larger than those of
# as many independent attacks; measured on stretches of 30 to 300 s.
DEPENDENCE = 2.5
FEWEST = 8  # attacks that may hold a drift, and notes that rises of keys can prove
SHARPEST = 2e-4  # s, scale of errors below which all attacks count
LARGEST_DRIFT_ERROR = 60.0  # ppm; where it is larger, drift is taken to be 0


@dataclass(frozen=True)
class Alignment:
    """Line from MIDI time to audio time, and how far it can be trusted.

    `offset` and `offset_error` in s, `drift` and `drift_error` in ppm, errors as one standard
    deviation. `confidence` is 1 where no other offset comes near, 0 where another fits as well.
    `residual_ms` is the median distance of a MIDI onset to its attack, `matched` the share of MIDI
    notes that are heard. `status` is "ok" or "rejected", then with a `reason`.
    """

    offset: float
    drift: float
    confidence: float
    residual_ms: float
    matched: float
    status: str = "ok"
    reason: str = ""
    offset_error: float = 0.0
    drift_error: float = 0.0

    def audio_time(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Audio time in s of MIDI time in s."""
        return self.offset + (1 + self.drift * 1e-6) * time

    def differs(self, start: float, end: float) -> bool:
        """Whether, from `start` to `end` (MIDI time, s), the clocks differ by more than the error."""
        middle = (start + end) / 2
        shift = np.abs(self.audio_time(np.array([start, end])) - [start, end])
        error = np.hypot(self.offset_error, self.drift_error * 1e-6 * (middle - start))
        return bool((shift > 3 * error).any())


def measure(events: Events, audio: Samples, rate: int, config: Align) -> Alignment:
    """Offset and drift between the notes of `events` and `audio`, mono, [time], at `rate` Hz.

    The offset at the middle of the performance is looked for within +-`max_offset` s, drift within
    +-`max_drift` ppm.

    Raises:
        ValueError: there are no notes.
    """
    notes = onsets(events)
    if not len(notes.time):
        raise ValueError("no notes to align")
    if not any(audio[start : start + BLOCK].any() for start in range(0, len(audio), BLOCK)):
        return Alignment(0.0, 0.0, 0.0, 0.0, 0.0, "rejected", "the audio is silent")
    curve, step = attack_curve(audio, rate)
    curves = KeyCurves(audio, rate)
    found = search(curves, notes, config)
    line = _refine(curve, step, notes, *_centre(curve, step, notes, found))
    if len(notes.time) >= FEWEST:
        moments, reach = line.audio_time(notes.time), max(config.max_offset, 1.0)
        matched = heard(curves, found.detuning, notes, moments, reach)
        return _judge(line, found.confidence, matched, config)
    # Of so few notes, rises of keys prove nothing. A soft one is found by its key, another by its loudness.
    louder = search_few(*loudness_rise(audio, rate), notes, config)
    other = _refine(curve, step, notes, *_centre(curve, step, notes, louder))
    proofs = [recognise(audio, rate, each.audio_time(notes.time), notes.key) for each in (line, other)]
    if proofs[1] > proofs[0]:
        found, line = louder, other
    matched, certain = max(proofs)
    return _judge(line, min(found.confidence, certain), matched, config)


def _centre(curve: Curve, step: float, notes: Notes, found: Search) -> tuple[float, float]:
    """Offset and drift near the searched ones at which the attack curve is highest on average."""
    smooth = gaussian_filter1d(curve, 0.003 / step)
    middle, half = (notes.time[0] + notes.time[-1]) / 2, max(np.ptp(notes.time) / 2, KEY_STEP)
    # One drift differs from the next by 1.5 ms at the ends; the search was exact to 10 ms there.
    drifts = found.drift + (np.arange(-8, 9) * 0.0015e6 / half if half > 5 else np.zeros(1))
    shifts = np.arange(-REACH, REACH, 0.001)
    weight = np.sqrt(notes.velocity)
    best = (-np.inf, 0.0, 0.0)
    for drift in drifts:
        moved = notes.time + (drift * (notes.time - middle) + found.drift * middle) * 1e-6
        place = np.rint((found.offset + LATENCY + moved) / step).astype(int)
        for shift in shifts:
            index = place + round(shift / step)
            inside = (index >= 0) & (index < len(smooth))
            height = weight[inside] @ smooth[index[inside]]
            best = max(best, (height, shift, drift))
    _, shift, drift = best
    return found.offset + shift + (found.drift - drift) * 1e-6 * middle, drift


@dataclass(frozen=True)
class _Line:
    """Offset in s and drift in ppm, their errors, and the median residual in s."""

    offset: float
    drift: float
    offset_error: float
    drift_error: float
    residual: float

    def audio_time(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Audio time in s of MIDI time in s."""
        return self.offset + (1 + self.drift * 1e-6) * time


def _refine(curve: Curve, step: float, notes: Notes, offset: float, drift: float) -> _Line:
    """Line through the attacks that belong to MIDI onsets, from a line near it."""
    struck = _chords(notes)
    attacks = _peaks(curve, step) - LATENCY
    line = _Line(offset, drift, LATENCY_SPREAD, 0.0, np.inf)
    for window in WINDOWS:
        time, delay = _pairs(struck, attacks, line, window)
        if not len(time):
            return line
        line = _fit(time, delay, line)
    _, delay = _pairs(struck, attacks, line, HEARD)
    return replace(line, residual=float(np.median(np.abs(delay))))


def _chords(notes: Notes) -> NDArray[np.float64]:
    """Times of onsets, in s; those closer than `CHORD` are one, loud notes counting more."""
    starts = np.flatnonzero(np.diff(notes.time, prepend=-np.inf) > CHORD)
    weight = notes.velocity**2
    return np.add.reduceat(notes.time * weight, starts) / np.add.reduceat(weight, starts)


def _peaks(curve: Curve, step: float) -> NDArray[np.float64]:
    """Times in s of the curve's maxima that are more than noise and highest within `ALONE`."""
    threshold = max(np.median(curve), WEAKEST * curve.max())
    before, here, after = curve[:-2], curve[1:-1], curve[2:]
    highest = maximum_filter1d(curve, 2 * round(ALONE / step) + 1)[1:-1]
    index = np.flatnonzero((here > before) & (here >= after) & (here == highest) & (here > threshold))
    left, top, right = (x[index].astype(np.float64) for x in (before, here, after))
    return (index + 1 + 0.5 * (left - right) / (left - 2 * top + right)) * step


def _pairs(onsets: NDArray, attacks: NDArray, line: _Line, window: float) -> tuple[NDArray, NDArray]:
    """MIDI times of onsets that have an attack, and how much later it is than the line says, in s."""
    if not len(attacks):
        return np.zeros(0), np.zeros(0)
    expected = line.offset + (1 + line.drift * 1e-6) * onsets
    attack = _nearest(attacks, expected)
    delay = attacks[attack] - expected
    mutual = _nearest(expected, attacks)[attack] == np.arange(len(onsets))
    paired = mutual & (np.abs(delay) < window)
    return onsets[paired], delay[paired]


def _nearest(sorted_values: NDArray, wanted: NDArray) -> NDArray[np.int64]:
    """Index of the value nearest to each wanted one."""
    right = np.clip(np.searchsorted(sorted_values, wanted), 1, max(len(sorted_values) - 1, 1))
    if len(sorted_values) == 1:
        return np.zeros(len(wanted), np.int64)
    left = right - 1
    return np.where(wanted - sorted_values[left] <= sorted_values[right] - wanted, left, right)


def _fit(time: NDArray, delay: NDArray, line: _Line) -> _Line:
    """`line` corrected by what is left; without drift where that could not be told from 0."""
    fitted = _biweight(time, delay, slope=True) if len(time) >= FEWEST else None
    if fitted is None or fitted.drift_error > LARGEST_DRIFT_ERROR:
        fitted = _biweight(time, delay + line.drift * 1e-6 * (time - time.mean()), slope=False)
        line = replace(line, offset=line.offset + line.drift * 1e-6 * float(time.mean()), drift=0.0)
    return replace(fitted, offset=line.offset + fitted.offset, drift=line.drift + fitted.drift)


def _biweight(time: NDArray, delay: NDArray, slope: bool) -> _Line:
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
    return _Line(centre - gradient * middle, gradient * 1e6, offset_error, float(drift_error), np.inf)


def _judge(line: _Line, confidence: float, matched: float, config: Align) -> Alignment:
    """The result, rejected where a limit is passed."""
    residual_ms = 1000 * line.residual if np.isfinite(line.residual) else 1000 * HEARD
    reason = ""
    if matched < config.min_matched:
        reason = (
            f"{matched:.0%} of the notes are heard in the audio (align.min_matched {config.min_matched:.0%})"
        )
    elif residual_ms > config.max_residual:
        reason = f"onsets are {residual_ms:.0f} ms off (align.max_residual {config.max_residual:g})"
    elif abs(line.drift) > config.max_drift:
        reason = f"the clocks drift by {line.drift:.0f} ppm (align.max_drift {config.max_drift:g})"
    return Alignment(
        offset=float(line.offset),
        drift=float(line.drift),
        confidence=confidence,
        residual_ms=residual_ms,
        matched=matched,
        status="rejected" if reason else "ok",
        reason=reason,
        offset_error=line.offset_error,
        drift_error=line.drift_error,
    )
