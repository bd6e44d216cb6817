"""Tuning of the piano in a recording: how far from 440 Hz, and how stretched.

`diffsynth.fitting.tuning` measures notes that ring alone, and real music has only a handful of them. Here
single partials are enough that no other sounding note has a partial near, known from the MIDI.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from diffsynth.audio.files import Audio, Samples
from diffsynth.midi.events import KEYS, Events, to_samples
from diffsynth.midi.pitches import TYPICAL_STIFFNESS, equal_tempered, string_partials
from diffsynth.midi.strikes import TAIL, soundings

A4 = 48  # key of 440 Hz
NOTES = 6  # of a key that are listened to, the longest
PARTIALS = 4  # of a note; higher ones say more about the stiffness of the string
ATTACK = 0.03  # s after the onset that are noise
LENGTHS = (0.2, 0.5)  # s listened to, at least and at most
APART = 3.0  # resolutions (1 / length) to the nearest partial of another note
REACH = 60.0  # cents around 440 Hz in which a first peak is looked for ...
NEAR = 25.0  # ... and around the median of those, in which the peaks that count are
PROMINENT = 10.0  # power of a peak above the median around it
FEWEST = 6  # keys that may hold a line ...
SPAN = 24  # ... and how far apart, in semitones


def _partials(key: int) -> NDArray[np.float64]:
    """Frequencies in Hz of 40 partials of a key of which the first is in equal temperament."""
    partials = string_partials(1.0, float(np.exp(TYPICAL_STIFFNESS[key])), 40)
    return equal_tempered(key) * partials / partials[0]


FREQUENCIES = np.array([_partials(key) for key in range(KEYS)])


@dataclass(frozen=True)
class Pitch:
    """Deviation from 440 Hz at A4 in cents, and what it gains per octave upwards (None: not known)."""

    cents: float | None
    stretch: float | None


@dataclass(frozen=True)
class _Spectrum:
    """Power of a note in bins of `width` Hz, its key, and its partials (from 0) that are free."""

    key: int
    power: NDArray[np.float32]
    width: float
    free: NDArray[np.int64]


def measure_pitch(events: Events, audio: Samples, rate: int) -> Pitch:
    """Tuning of the piano that plays `events`, in audio time, in mono audio at `rate` Hz.

    A straight line through the median deviations of all keys, itself by medians (Theil and Sen), so that
    single keys that are out of tune or misread do not count.
    """
    spectra = _listen(events, audio, rate)
    first = [cents for cents in (_deviation(s, 0.0, REACH) for s in spectra) if cents is not None]
    if not first:
        return Pitch(None, None)
    middle = float(np.median(first))
    found: dict[int, list[float]] = {}
    for spectrum in spectra:
        cents = _deviation(spectrum, middle, NEAR)
        if cents is not None:
            found.setdefault(spectrum.key, []).append(cents)
    keys, cents_of = np.array(list(found)), np.array([np.median(cents) for cents in found.values()])
    if len(keys) < FEWEST or np.ptp(keys) < SPAN:
        return Pitch(round(float(np.median(cents_of)) if len(keys) else middle, 2), None)
    slope, at_a4 = _line(keys - A4, cents_of)
    return Pitch(round(at_a4, 2), round(12 * slope, 2))


def _listen(events: Events, audio: Samples, rate: int) -> list[_Spectrum]:
    """Spectra of the longest notes of every key that have free partials."""
    notes = soundings(to_samples(events, rate), len(audio))
    begin = notes["onset"] + round(ATTACK * rate)
    end = np.minimum(notes["end"], begin + round(LENGTHS[1] * rate))
    fades = notes["damp"] + round(TAIL * rate)
    long_enough = end - begin >= LENGTHS[0] * rate
    spectra = []
    for key in np.unique(notes["key"]):
        own = np.flatnonzero((notes["key"] == key) & long_enough)
        for note in own[np.argsort(begin[own] - end[own], kind="stable")][:NOTES]:
            together = (notes["onset"] < end[note]) & (fades > begin[note])
            others = np.setdiff1d(notes["key"][together], [key])
            length = int(end[note] - begin[note])
            free = _free(int(key), others, APART * rate / length)
            if len(free):
                power = _power(audio[int(begin[note]) : int(end[note])])
                spectra.append(_Spectrum(int(key), power, rate / 2 / (len(power) - 1), free))
    return spectra


def _free(key: int, others: NDArray[np.int64], apart: float) -> NDArray[np.int64]:
    """Partials of a key, from 0, with no partial of the other keys within `apart` Hz."""
    distance = np.abs(FREQUENCIES[others].reshape(1, -1) - FREQUENCIES[key, :PARTIALS, None])
    return np.flatnonzero(distance.min(axis=1, initial=np.inf) > apart)


def _power(segment: Audio) -> NDArray[np.float32]:
    """Power spectrum under a Hann window, interpolated to half the distance of its bins."""
    taper = np.hanning(len(segment)).astype(np.float32)
    spectrum = scipy.fft.rfft(segment * taper, scipy.fft.next_fast_len(2 * len(segment), real=True))
    return spectrum.real**2 + spectrum.imag**2


def _deviation(spectrum: _Spectrum, middle: float, reach: float) -> float | None:
    """Median of the cents by which free partials differ from 440 Hz, near `middle`; None without peaks."""
    power, width = spectrum.power, spectrum.width
    found = []
    for nominal in FREQUENCIES[spectrum.key, spectrum.free]:
        low, high = (int(nominal * 2 ** ((middle + side * reach) / 1200) / width) for side in (-1, 1))
        if low < 1 or high + 2 >= len(power):
            continue
        peak = low + int(np.argmax(power[low : high + 1]))
        wide = max(2 * (high - low), 20)
        around = float(np.median(power[max(low - wide, 0) : high + wide]))
        if not low < peak < high or power[peak] < PROMINENT * around:
            continue
        below, at, above = np.log(np.maximum(power[peak - 1 : peak + 2].astype(float), 1e-30))
        place = peak + 0.5 * (below - above) / min(below - 2 * at + above, -1e-9)
        found.append(1200 * np.log2(place * width / nominal))
    return float(np.median(found)) if found else None


def _line(x: NDArray[np.int64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and value at 0 of the line of Theil and Sen: the median of all slopes between two points."""
    one, other = np.triu_indices(len(x), 1)
    slope = float(np.median((y[other] - y[one]) / (x[other] - x[one])))
    return slope, float(np.median(y - slope * x))
