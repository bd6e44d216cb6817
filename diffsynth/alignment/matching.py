"""Which notes are heard where, by key: the coarse place of a performance in a recording, and proof of it.

Both go through the recording in stretches, so that its length costs no memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from diffsynth.alignment.config import Align
from diffsynth.alignment.onsets import DETUNINGS, Curve, KeyCurves
from diffsynth.midi.events import KEYS, LOWEST_KEY, NOTE_ON, Events

# What the curves show later than the note starts, in s; see `diffsynth.alignment.robust_line.LATENCY`.
KEY_LATENCY = 0.005
KEY_SPREAD = 0.03  # largest difference, between dynamics
STRETCH = 20.0  # s; 200 ppm are 4 ms within it
DECISIVE = 6  # stretches that tell how the piano is tuned
FREE = 8  # rows around a struck key that say nothing about silence


@dataclass(frozen=True)
class Notes:
    """MIDI onsets: time in s, key 0 to 87 and velocity."""

    time: NDArray[np.float64]
    key: NDArray[np.int64]
    velocity: NDArray[np.float64]

    def part(self, chosen: slice | NDArray[np.bool_]) -> "Notes":
        """Some of them."""
        return Notes(self.time[chosen], self.key[chosen], self.velocity[chosen])


def onsets(events: Events) -> Notes:
    """The onsets of an event stream."""
    on = events[events["kind"] == NOTE_ON]
    return Notes(on["time"], on["number"].astype(np.int64) - LOWEST_KEY, on["value"].astype(np.float64))


@dataclass(frozen=True)
class Search:
    """Where the correlation of notes and curves peaks, how high, and at which detuning."""

    detuning: int
    offset: float
    drift: float
    height: float
    confidence: float


def search(curves: KeyCurves, notes: Notes, config: Align) -> Search:
    """Offset in s and drift in ppm where the notes' keys rise most, at the best of all detunings."""
    parts = list(_stretches(notes))
    tuning = parts[:DECISIVE]
    if len(parts) > len(tuning):
        detuning = max((_search(curves, tuning, config, d) for d in DETUNINGS), key=_height).detuning
        return _search(curves, parts, config, detuning)
    return max((_search(curves, parts, config, d) for d in DETUNINGS), key=_height)


def _search(curves: KeyCurves, parts: Sequence[Notes], config: Align, detuning: int) -> Search:
    """The same for notes in stretches, at one detuning."""
    lags = round(config.max_offset / curves.step)
    correlations = []
    for part in parts:
        train, start = _train(part, curves.step)
        rows, there = curves.rows(start - lags, len(train) + 2 * lags, detuning)
        rows[there] -= rows[there].mean(axis=0) if there.any() else 0
        correlations.append(_correlate(rows, train, 2 * lags + 1))
    ends = parts[0].time[0], parts[-1].time[-1]
    times = np.array([part.time.mean() for part in parts])
    return _peak(np.array(correlations), times, ends, curves.step, config, detuning)


def _height(found: Search) -> float:
    return found.height


def search_few(rise: Curve, step: float, notes: Notes, config: Align) -> Search:
    """The same for a few notes, by how loud it gets at them, whatever their keys; there is no drift."""
    lag = np.arange(-round(config.max_offset / step), round(config.max_offset / step) + 1)
    place = notes.time / step
    moments = np.arange(len(rise))
    at = place[:, None] + lag
    total = notes.velocity @ np.interp(at, moments, rise, left=0, right=0)
    ends = (notes.time[0], notes.time[-1])
    return _peak(total[None], np.array([sum(ends) / 2]), ends, step, replace(config, max_drift=0.0), 0)


def heard(
    curves: KeyCurves, detuning: int, notes: Notes, moments: NDArray[np.float64], reach: float
) -> float:
    """Share of notes whose key rises at their moment (s), more than elsewhere and than other keys.

    "Elsewhere" are moments up to `reach` s away at which the key is not struck. More than at nine
    tenths of them is asked for, so that a wrong file has a share of about 0.1.
    """
    row = np.clip(np.rint((moments + KEY_LATENCY) / curves.step).astype(int), 0, len(curves) - 1)
    lags = np.arange(round(0.3 / curves.step), round(reach / curves.step), round(0.09 / curves.step))
    lags = np.concatenate([-lags[::-1], lags])
    spread = round(KEY_SPREAD / curves.step)
    size, total = round(STRETCH / curves.step), 0
    for stretch in np.unique(row // size):
        here = slice(*np.searchsorted(row // size, [stretch, stretch + 1]))
        first = row[here][0] - lags[-1] - FREE
        count = row[here][-1] - first + lags[-1] + FREE + 1
        rise, _ = curves.rows(first - spread, count + 2 * spread, detuning)
        rise = maximum_filter1d(rise, 2 * spread + 1, axis=0)[spread : spread + count]
        near = slice(*np.searchsorted(row, [first - FREE, first + count + FREE]))
        free = _free(row[near] - first, notes.key[near], count)
        total += _count_heard(rise, free, row[here] - first, notes.key[here], lags)
    return total / len(row)


def _stretches(notes: Notes) -> Iterator[Notes]:
    """The notes of every `STRETCH` s in which there are any."""
    which = ((notes.time - notes.time[0]) // STRETCH).astype(int)
    for stretch in np.unique(which):
        yield notes.part(which == stretch)


def _train(notes: Notes, step: float) -> tuple[Curve, int]:
    """[rows, 88 keys] velocities at the onsets, shared between two rows, and the number of its first row."""
    place = notes.time / step
    start = int(place[0])
    train = np.zeros((int(place[-1]) - start + 2, KEYS), np.float32)
    index = place.astype(int) - start
    np.add.at(train, (index, notes.key), notes.velocity * (1 - place % 1))
    np.add.at(train, (index + 1, notes.key), notes.velocity * (place % 1))
    return train, start


def _correlate(rows: Curve, train: Curve, count: int) -> NDArray[np.float32]:
    """Sum over keys of rows times the train moved by 0 to `count` - 1 rows."""
    size = scipy.fft.next_fast_len(len(rows), real=True)
    struck = np.flatnonzero(train.any(axis=0))
    spectra = (scipy.fft.rfft(x[:, struck], size, axis=0) for x in (rows, train))
    product = next(spectra) * np.conj(next(spectra))
    return scipy.fft.irfft(product.sum(axis=1), size)[:count]


def _peak(
    correlations: NDArray,
    times: NDArray,
    ends: tuple[float, float],
    step: float,
    config: Align,
    detuning: int,
) -> Search:
    """The highest sum of the correlations of all stretches, [stretches, lags], along a line."""
    lags = correlations.shape[1] // 2
    middle, span = sum(ends) / 2, ends[1] - ends[0]
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
    offset = float(lag[peak] * step - KEY_LATENCY - drifts[best] * 1e-6 * middle)
    return Search(detuning, offset, float(drifts[best]), float(row[peak]), confidence)


def _free(row: NDArray[np.int64], key: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """[count, 88 keys] whether a key is not struck within `FREE` rows; the rows of its onsets are given."""
    free = np.ones((count, KEYS), bool)
    for near in range(-FREE, FREE + 1):
        inside = (row + near >= 0) & (row + near < count)
        free[row[inside] + near, key[inside]] = False
    return free


def _count_heard(
    rise: Curve, free: NDArray[np.bool_], row: NDArray[np.int64], key: NDArray[np.int64], lags: NDArray
) -> int:
    own = rise[row, key][:, None]
    elsewhere = _share(rise, free, own, row[:, None] + lags, key[:, None])
    other_keys = _share(rise, free, own, row[:, None], np.arange(KEYS))
    return int(((own[:, 0] > 0) & (elsewhere >= 0.9) & (other_keys >= 0.5)).sum())


def _share(
    rise: Curve, free: NDArray[np.bool_], own: Curve, row: NDArray, key: NDArray
) -> NDArray[np.float64]:
    """Of the free places (row, key) the share at which the rise is below a note's own, [notes]."""
    usable = free[row, key]
    return ((rise[row, key] < own) & usable).sum(axis=1) / np.maximum(usable.sum(axis=1), 1)
