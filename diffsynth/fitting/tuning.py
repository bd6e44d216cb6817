"""Tuning and string stiffness of every key, from the spectra of notes that ring alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.takes import Take
from diffsynth.midi.events import KEYS
from diffsynth.midi.pitches import TYPICAL_STIFFNESS, equal_tempered, string_partials
from diffsynth.midi.strikes import GRID

SHORTEST = 0.12  # s that a note must ring alone
FFT = 16384
MAX_DEVIATION = 0.035  # of a fundamental from equal temperament: 60 cents


@dataclass(frozen=True)
class Tuning:
    """Fundamental in Hz and stiffness B of every key, [88] each."""

    fundamental: NDArray[np.float64]
    stiffness: NDArray[np.float64]


def measure_tuning(heard: Sequence[tuple[Take, NDArray[np.void], NDArray[np.bool_]]]) -> Tuning:
    """Measure every key that rings alone somewhere; the others are interpolated between them."""
    counts = [sounds.sum(axis=0, dtype=np.uint8) for _, _, sounds in heard]
    spectra = [_spectrum_alone(heard, counts, key) for key in range(KEYS)]
    rate = heard[0][0].rate
    found = {key: _fit_string(s, key, rate) for key, s in enumerate(spectra) if s is not None}
    keys = np.arange(KEYS)
    if not found:
        return Tuning(equal_tempered(keys), np.exp(TYPICAL_STIFFNESS))
    known = sorted(found)
    deviation = np.interp(keys, known, [np.log(found[k][0] / equal_tempered(k)) for k in known])
    stiffness = np.interp(keys, known, [np.log(found[k][1]) - TYPICAL_STIFFNESS[k] for k in known])
    return Tuning(equal_tempered(keys) * np.exp(deviation), np.exp(TYPICAL_STIFFNESS + stiffness))


def _spectrum_alone(
    heard: Sequence[tuple[Take, NDArray[np.void], NDArray[np.bool_]]],
    counts: Sequence[NDArray[np.uint8]],
    key: int,
) -> NDArray[np.float64] | None:
    """Mean power spectrum of up to eight notes of a key that ring alone, the longest first.

    `counts` says how many keys sound at each step of each recording.
    """
    candidates = []
    for (recording, notes, sounds), count in zip(heard, counts, strict=True):
        others = count > sounds[key]
        for note in notes[notes["key"] == key]:
            begin, end = _longest_free(others, int(note["onset"]), int(note["end"]))
            end = min(end, begin + FFT)
            if end - begin > SHORTEST * recording.rate:
                candidates.append((end - begin, begin, recording))
    candidates.sort(key=lambda candidate: -candidate[0])
    if not candidates:
        return None
    total = np.zeros(FFT // 2 + 1)
    for length, begin, recording in candidates[:8]:
        segment = recording.audio[begin : begin + length]
        power = np.abs(np.fft.rfft(segment * np.hanning(length), FFT)) ** 2
        total += power / power.max() if power.max() > 0 else 0
    return total if total.max() > 0 else None


def _longest_free(busy: NDArray[np.bool_], begin: int, end: int) -> tuple[int, int]:
    """The longest part of [begin, end) in which nothing else sounds."""
    steps = np.concatenate([[True], busy[begin // GRID : end // GRID], [True]])
    edges = np.flatnonzero(steps)
    longest = int(np.argmax(np.diff(edges)))
    low, high = begin + edges[longest] * GRID, begin + (edges[longest + 1] - 1) * GRID
    return int(low), int(min(high, end))


def _fit_string(spectrum: NDArray[np.float64], key: int, rate: int) -> tuple[float, float]:
    """Fundamental and stiffness of one key: peaks are followed upward, with a new fit after each of them."""
    nominal = float(equal_tempered(key))
    fundamental, stiffness = nominal, float(np.exp(TYPICAL_STIFFNESS[key]))
    peaks: list[tuple[int, float, float]] = []
    for k in range(1, 41):
        expected = string_partials(fundamental, stiffness, k)[-1]
        reach = (MAX_DEVIATION if not peaks else 0.008) * expected + 1.5 * rate / FFT
        reach = min(reach, 0.4 * nominal)
        low, high = (int((expected + side * reach) * FFT / rate) for side in (-1, 1))
        if high + 2 >= len(spectrum):
            break
        peak = low + int(np.argmax(spectrum[low : high + 1]))
        around = np.median(spectrum[max(low - 20, 0) : high + 20])
        if not low < peak < high or spectrum[peak] < 30 * around or spectrum[peak] < 1e-7 * spectrum.max():
            continue
        peaks.append((k, _interpolate(spectrum, peak) * rate / FFT, float(np.log(spectrum[peak] / around))))
        fundamental, stiffness = _refit(peaks, nominal, float(np.exp(TYPICAL_STIFFNESS[key])))
    return fundamental, stiffness


def _refit(peaks: list[tuple[int, float, float]], nominal: float, typical: float) -> tuple[float, float]:
    """Weighted least squares of (f / k)^2 = f0^2 + f0^2 B k^2, limited to values typical of pianos."""
    k, frequency, weight = (np.array(column, dtype=float) for column in zip(*peaks, strict=True))
    ratio = (frequency / k / nominal) ** 2
    weight = np.sqrt(weight) * k  # a high partial says more about f0 for the same error in Hz
    if len(peaks) < 4:
        fundamental = float(np.average(frequency / k / np.sqrt(1 + typical * k**2), weights=weight))
        return float(
            np.clip(fundamental, nominal * (1 - MAX_DEVIATION), nominal * (1 + MAX_DEVIATION))
        ), typical
    slope, intercept = np.polyfit(k**2, ratio, 1, w=weight)
    stiffness = float(np.clip(slope / intercept, typical / 10, typical * 10))
    squared = np.average(ratio / (1 + stiffness * k**2), weights=weight)
    fundamental = nominal * float(np.clip(np.sqrt(squared), 1 - MAX_DEVIATION, 1 + MAX_DEVIATION))
    return fundamental, stiffness


def _interpolate(spectrum: NDArray[np.float64], peak: int) -> float:
    """Position of a peak in bins, by a parabola through the logarithms of three bins."""
    below, at, above = np.log(np.maximum(spectrum[peak - 1 : peak + 2], 1e-30))
    curvature = below - 2 * at + above
    return peak + (0.5 * (below - above) / curvature if curvature < 0 else 0.0)
