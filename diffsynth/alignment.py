"""How the clock of a recording relates to that of its MIDI file.

    audio time = offset + (1 + drift * 1e-6) * MIDI time        (s, s, ppm, s)

Three steps, from what cannot go wrong to what is exact:

1. `_search`: a velocity-weighted train of MIDI onsets, one row per key, is correlated (FFT) with the
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
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from diffsynth.audio import Audio
from diffsynth.config import Align
from diffsynth.events import KEYS, LOWEST_KEY, NOTE_ON, Events
from diffsynth.onsets import KEY_STEP, Curve, attack_curve, key_curves, key_rises

# Calibration against FluidSynth (two SoundFonts, 88 keys, velocities 15 to 120, alone and in music):
# what the curves show later than the note starts, in s, and how much that differs between
# performances (one standard deviation).
LATENCY = 0.0035
LATENCY_SPREAD = 0.0008
KEY_LATENCY = 0.005
KEY_SPREAD = 0.03  # largest difference, between dynamics

STRETCH = 20.0  # s; 200 ppm are 4 ms within it
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
FEWEST = 8  # attacks that may hold a drift
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


@dataclass(frozen=True)
class _Notes:
    """MIDI onsets: time in s, key 0 to 87 and velocity."""

    time: NDArray[np.float64]
    key: NDArray[np.int64]
    velocity: NDArray[np.float64]


def measure(events: Events, audio: Audio, rate: int, config: Align) -> Alignment:
    """Offset and drift between the notes of `events` and `audio`, mono, [time], at `rate` Hz.

    The offset at the middle of the performance is looked for within +-`max_offset` s, drift within
    +-`max_drift` ppm.

    Raises:
        ValueError: there are no notes.
    """
    on = events[events["kind"] == NOTE_ON]
    if not len(on):
        raise ValueError("no notes to align")
    notes = _Notes(on["time"], on["number"].astype(np.int64) - LOWEST_KEY, on["value"].astype(np.float64))
    if not audio.any():
        return Alignment(0.0, 0.0, 0.0, 0.0, 0.0, "rejected", "the audio is silent")
    rises, key_step = key_rises(audio, rate)
    searches = [_search(key_curves(rises, detuning), key_step, notes, config) for detuning in (-1, 0, 1)]
    found = max(searches, key=lambda search: search.height)
    curve, step = attack_curve(audio, rate)
    line = _refine(curve, step, notes, *_centre(curve, step, notes, found))
    matched = _heard(found.curves, key_step, notes, line, config.max_offset)
    return _judge(line, found.confidence, matched, config)


@dataclass(frozen=True)
class _Search:
    """Where the correlation of notes and `curves` peaks, and how high."""

    curves: Curve
    offset: float
    drift: float
    height: float
    confidence: float


def _search(curves: Curve, step: float, notes: _Notes, config: Align) -> _Search:
    """Offset and drift where the notes' keys rise most."""
    lags = round(config.max_offset / step)
    middle, span = (notes.time[0] + notes.time[-1]) / 2, np.ptp(notes.time)
    correlations, times = _stretches(curves - curves.mean(axis=0), step, notes, lags)
    # Neighbouring drifts move the ends of the performance by one step.
    grid = 2e6 * step / max(span, step)
    count = int(config.max_drift // grid)
    drifts = np.arange(-count, count + 1) * grid
    lag = np.arange(-lags, lags + 1)
    total = np.zeros((len(drifts), len(lag)))
    for correlation, time in zip(correlations, times, strict=True):
        for row, drift in zip(total, drifts, strict=True):
            row += np.interp(lag + drift * 1e-6 * (time - middle) / step, lag, correlation)
    best, peak = np.unravel_index(total.argmax(), total.shape)
    row = total[best]
    others = row[np.abs(lag - lag[peak]) * step > 0.15]
    confidence = float(np.clip(1 - others.max(initial=0) / max(row[peak], 1e-12), 0, 1))
    offset = lag[peak] * step - KEY_LATENCY - drifts[best] * 1e-6 * middle
    return _Search(curves, offset, float(drifts[best]), float(row[peak]), confidence)


def _stretches(curves: Curve, step: float, notes: _Notes, lags: int) -> tuple[NDArray, NDArray]:
    """Correlation of notes and curves per stretch, [stretches, 2 lags + 1], and its mean time."""
    edges = np.arange(notes.time[0], notes.time[-1] + STRETCH, STRETCH)
    which = np.searchsorted(edges, notes.time, side="right")
    correlations, times = [], []
    for stretch in np.unique(which):
        time, key, velocity = (x[which == stretch] for x in (notes.time, notes.key, notes.velocity))
        place = time / step
        start, frames = int(place[0]), int(place[-1]) - int(place[0]) + 2
        train = np.zeros((frames, KEYS), np.float32)
        index = place.astype(int) - start
        np.add.at(train, (index, key), velocity * (1 - place % 1))
        np.add.at(train, (index + 1, key), velocity * (place % 1))
        heard = _cut(curves, start - lags, frames + 2 * lags)
        size = scipy.fft.next_fast_len(len(heard), real=True)
        spectra = (scipy.fft.rfft(x, size, axis=0) for x in (heard, train))
        product = next(spectra) * np.conj(next(spectra))
        correlations.append(scipy.fft.irfft(product.sum(axis=1), size)[: 2 * lags + 1])
        times.append(time.mean())
    return np.array(correlations), np.array(times)


def _cut(curves: Curve, start: int, count: int) -> Curve:
    """`count` rows from row `start`, which may lie outside; rows that do not exist are 0."""
    result = np.zeros((count, curves.shape[1]), curves.dtype)
    inside = slice(max(start, 0), max(start + count, 0))
    rows = curves[inside]
    first = max(-start, 0)
    result[first : first + len(rows)] = rows
    return result


def _centre(curve: Curve, step: float, notes: _Notes, found: _Search) -> tuple[float, float]:
    """Offset and drift near the searched ones at which the attack curve is highest on average."""
    smooth = gaussian_filter1d(curve, 0.003 / step)
    middle, half = (notes.time[0] + notes.time[-1]) / 2, max(np.ptp(notes.time) / 2, KEY_STEP)
    # One drift differs from the next by 1.5 ms at the ends; the search was exact to 10 ms there.
    drifts = found.drift + np.arange(-8, 9) * 0.0015e6 / half * (half > 5)
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


def _refine(curve: Curve, step: float, notes: _Notes, offset: float, drift: float) -> _Line:
    """Line through the attacks that belong to MIDI onsets, from a line near it."""
    onsets = _chords(notes)
    attacks = _peaks(curve, step) - LATENCY
    line = _Line(offset, drift, LATENCY_SPREAD, 0.0, np.inf)
    for window in WINDOWS:
        time, delay = _pairs(onsets, attacks, line, window)
        if not len(time):
            return line
        line = _fit(time, delay, line)
    _, delay = _pairs(onsets, attacks, line, HEARD)
    return replace(line, residual=float(np.median(np.abs(delay))))


def _chords(notes: _Notes) -> NDArray[np.float64]:
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
    for _ in range(20):
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


def _heard(curves: Curve, step: float, notes: _Notes, line: _Line, max_offset: float) -> float:
    """Share of notes whose key rises where the line says, more than elsewhere and than other keys.

    "Elsewhere" are moments up to `max_offset` (1 s at least) away at which the key is not struck. More
    than at nine tenths of them is asked for, so that a wrong file has a share of about 0.1.
    """
    rise = maximum_filter1d(curves, 2 * round(KEY_SPREAD / step) + 1, axis=0)
    lags = np.arange(round(0.3 / step), round(max(max_offset, 1.0) / step), round(0.09 / step))
    lags = np.concatenate([-lags[::-1], lags])
    margin = lags[-1] + 1
    rise = np.pad(rise, ((margin, margin), (0, 0)))
    moments = line.offset + KEY_LATENCY + (1 + line.drift * 1e-6) * notes.time
    row = np.clip(np.rint(moments / step).astype(int) + margin, margin, len(rise) - 1 - margin)
    free = np.ones(rise.shape, bool)
    for near in range(-8, 9):
        free[row + near, notes.key] = False
    own = rise[row, notes.key][:, None]
    elsewhere = _share(rise, free, own, row[:, None] + lags, notes.key[:, None])
    other_keys = _share(rise, free, own, row[:, None], np.arange(KEYS))
    return float(((own[:, 0] > 0) & (elsewhere >= 0.9) & (other_keys >= 0.5)).mean())


def _share(
    rise: Curve, free: NDArray[np.bool_], own: Curve, row: NDArray, key: NDArray
) -> NDArray[np.float64]:
    """Of the free places (row, key) the share at which the rise is below a note's own, [notes]."""
    usable = free[row, key]
    return ((rise[row, key] < own) & usable).sum(axis=1) / np.maximum(usable.sum(axis=1), 1)


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
