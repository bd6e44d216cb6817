"""How the clock of a recording relates to that of its MIDI file.

    audio time = offset + (1 + drift * 1e-6) * MIDI time        (s, s, ppm, s)

Three steps, from what cannot go wrong to what is exact:

1. `search`: a velocity-weighted train of MIDI onsets, one row per key, is correlated (FFT) with the
   rises of the keys in the audio, in stretches of 20 s; the correlations are added along every line
   of offset and drift. Keys make the peak unmistakable, for wrongly paired files there is none.
2. `_centre`: the attack curve at all MIDI onsets, averaged, is highest at the right offset.
3. `robust_line.refine`: each MIDI onset meets the attack nearest to it (and nearest from both sides), found
   between two steps of the curve by a parabola; a line through the differences, by iterated Tukey
   biweights, gives offset and drift.

A recording may be an excerpt of its MIDI: notes before its beginning and after its end count for nothing.
A performance is rejected where the others are not heard in the audio at the place found.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from diffsynth.alignment.config import Align
from diffsynth.alignment.key_recognition import recognise
from diffsynth.alignment.matching import Notes, Search, heard, onsets, search, search_few
from diffsynth.alignment.onsets import KEY_STEP, Curve, KeyCurves, attack_curve, loudness_rise
from diffsynth.alignment.robust_line import FEWEST, HEARD, LATENCY, SIGNIFICANT, Line, refine
from diffsynth.audio.files import BLOCK, Samples
from diffsynth.midi.events import Events

REACH = 0.06  # s around the searched offset, where the centre is looked for
DRIFTING = 20.0  # s, half of the shortest performance in which drifts move attacks by more than they err
KEPT_BEFORE = 0.02  # s before its beginning that still count as within a recording


@dataclass(frozen=True)
class Alignment:
    """Line from MIDI time to audio time, and how far it can be trusted.

    `offset` and `offset_error` in s, `drift`, `drift_found` and `drift_error` in ppm, errors as one
    standard deviation. `drift` is `drift_found` if that is significant, otherwise 0. `confidence` is 1
    where no other offset comes near, 0 where another fits as well. `residual_ms` is the median distance
    of a MIDI onset to its attack, `covered` the share of MIDI notes that lie within the recording,
    `matched` the share of these that are heard. `status` is "ok" or "rejected", then with a `reason`.
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
    drift_found: float = 0.0
    covered: float = 1.0

    def audio_time(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Audio time in s of MIDI time in s."""
        return self.offset + (1 + self.drift * 1e-6) * time

    def differs(self, start: float, end: float) -> bool:
        """Whether, from `start` to `end` (MIDI time, s), the clocks differ by more than the error."""
        middle = (start + end) / 2
        shift = np.abs(self.audio_time(np.array([start, end])) - [start, end])
        drift_error = self.drift_error if self.drift else 0.0
        error = np.hypot(self.offset_error, drift_error * 1e-6 * (middle - start))
        return bool((shift > SIGNIFICANT * error).any())


def measure(events: Events, audio: Samples, rate: int, config: Align) -> Alignment:
    """Offset and drift between the notes of `events` and `audio`, mono, [time], at `rate` Hz.

    The offset at the middle of the performance is looked for within +-`max_offset` s, drift within
    +-`max_drift` ppm. Of a performance of which the audio is only a part, that part counts.

    Raises:
        ValueError: there are no notes.
    """
    every = onsets(events)
    if not len(every.time):
        raise ValueError("no notes to align")
    if not any(audio[start : start + BLOCK].any() for start in range(0, len(audio), BLOCK)):
        return Alignment(0.0, 0.0, 0.0, 0.0, 0.0, "rejected", "the audio is silent")
    length = len(audio) / rate
    notes = every.part((every.time >= -config.max_offset) & (every.time <= length + config.max_offset))
    if len(notes.time) < min(len(every.time), FEWEST):
        return _too_short(len(notes.time), every)
    curve, step = attack_curve(audio, rate)
    curves = KeyCurves(audio, rate)
    found = search(curves, notes, config)
    line = refine(curve, step, notes, *_centre(curve, step, notes, found))
    if len(every.time) >= FEWEST:
        moments, reach = line.audio_time(notes.time), max(config.max_offset, 1.0)
        inside = (moments >= -KEPT_BEFORE) & (moments < length)
        if inside.sum() < FEWEST:
            return _too_short(int(inside.sum()), every)
        matched = heard(curves, found.detuning, notes.part(inside), moments[inside], reach)
        return _judge(line, found.confidence, matched, inside.sum() / len(every.time), config)
    # Of so few notes, rises of keys prove nothing. A soft one is found by its key, another by its loudness.
    louder = search_few(*loudness_rise(audio, rate), notes, config)
    other = refine(curve, step, notes, *_centre(curve, step, notes, louder))
    proofs = [recognise(audio, rate, each.audio_time(notes.time), notes.key) for each in (line, other)]
    if proofs[1] > proofs[0]:
        found, line = louder, other
    matched, certain = max(proofs)
    return _judge(line, min(found.confidence, certain), matched, 1.0, config)


def _too_short(count: int, notes: Notes) -> Alignment:
    reason = f"the audio is too short: {count} of {len(notes.time)} notes are within it"
    return Alignment(0.0, 0.0, 0.0, 0.0, 0.0, "rejected", reason, covered=count / len(notes.time))


def _centre(curve: Curve, step: float, notes: Notes, found: Search) -> tuple[float, float]:
    """Offset and drift near the searched ones at which the attack curve is highest on average."""
    smooth = gaussian_filter1d(curve, 0.003 / step)
    middle, half = (notes.time[0] + notes.time[-1]) / 2, max(np.ptp(notes.time) / 2, KEY_STEP)
    # One drift differs from the next by 1.5 ms at the ends; the search was exact to 10 ms there.
    drifts = found.drift + (np.arange(-8, 9) * 0.0015e6 / half if half > DRIFTING else np.zeros(1))
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


def _judge(line: Line, confidence: float, matched: float, covered: float, config: Align) -> Alignment:
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
        drift_found=line.drift_found,
        covered=float(covered),
    )
