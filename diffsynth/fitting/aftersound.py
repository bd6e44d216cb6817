"""The aftersound: the slow end of a partial, when its fast modes have died away.

Piano strings decay in stages (Weinreich, "Coupled piano strings", 1977). The last stage is so soft that a
sum of squares over the whole note ignores it, so it has to be measured where it is alone. For every key the
longest strikes that ring by themselves are averaged, and partials are followed in what the piano does not
explain of them. Where this is most of the sound until the end, one or two slow modes are added. These modes
also sound at the onset, where they are wrong; refinement (`diffsynth.fitting.refine`) corrects that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from diffsynth.fitting.attack import PolesAndAmplitudes, with_modes
from diffsynth.fitting.key_modes import remainder
from diffsynth.fitting.matrix_pencil import MIN_DECAY, poles_of, window_effect
from diffsynth.fitting.refine import FOLD
from diffsynth.fitting.strokes import find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import KEYS
from diffsynth.midi.pitches import equal_tempered
from diffsynth.midi.strikes import GRID, TAIL, sounding_map, soundings
from diffsynth.piano.piano import QUIETEST, Piano

WINDOW = 0.125  # s, keeps the partials of all keys apart
SPANS = 1.2, 20.0  # s of a strike that are analysed, one after the other: its middle, then its end
ALIKE = 0.7  # of the longest strike: strikes of at least that length are averaged with it
FEWEST = 8  # frames that a mode needs to be measured
SMOOTH = 5  # frames over which levels are taken
WRONG = 0.25  # share of a partial's power: if more is unexplained, modes are missing
WORTH = 0.7  # a mode must bring what is left, relative to the level, below this share
HARM = 5.0  # factor by which what is left of the whole partial may grow; refinement corrects it
FASTEST = 12.0  # 1/s; faster modes are no aftersound
NEAR = 8.0  # Hz between a mode and the partial's peak
FAINT = 1e-5  # of the largest peak, below which there are no partials
ROWS = 48  # frames in a row of the matrix pencil
Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Ringing:
    """Part of a recording in which one key rings by itself: `begin` to `end`, in samples."""

    recording: int
    begin: int
    end: int
    velocity: int


def add_aftersound(piano: Piano, recordings: Sequence[Take], max_frequency: float) -> Piano:
    """The same piano with slow modes for the ends of notes, where strikes ring alone.

    Args:
        piano: the modes of its partials and attacks.
        recordings: that it was fitted to.
        max_frequency: Hz, above which there are no modes.
    """
    rate = recordings[0].rate
    ringing: list[list[Ringing]] = [[] for _ in range(KEYS)]
    for index, recording in enumerate(recordings):
        for key, one in _ringing(index, recording):
            ringing[key].append(one)
    heard = [recording.audio for recording in recordings]
    strokes = find_strokes(recordings, piano)
    for span in SPANS:
        left = remainder(piano, recordings, strokes)
        found = {}
        for key in np.unique(piano.key[piano.key < KEYS]).tolist():
            longest = _longest(ringing[key], round(span * rate))
            if longest:
                rest, strike = (_mean(audio, longest, piano, key) for audio in (left, heard))
                harm = HARM if len(strokes[key].velocity) >= FOLD else 1.0  # others are not refined
                modes = aftersound(rest, strike, key, rate, piano.gain(key, 127), harm)
                found[key] = _below(*modes, max_frequency)
        piano = with_modes(piano, found)
    return piano


def _below(pole: Complex, amplitude: Complex, frequency: float) -> PolesAndAmplitudes:
    kept = pole.imag < 2 * np.pi * frequency
    return pole[kept], amplitude[kept]


def _ringing(index: int, recording: Take) -> Iterator[tuple[int, Ringing]]:
    """Keys, and where they ring by themselves from the strike on; tails of damped keys are ignored."""
    notes = soundings(recording.events, len(recording.audio))
    keys = sounding_map(notes, len(recording.audio), recording.rate).sum(axis=0)
    tail = round(TAIL * recording.rate) // GRID + 1
    for key, velocity, onset, _, end in notes.tolist():
        others = np.flatnonzero(keys[onset // GRID + tail : end // GRID] > 1)
        stop = end if not len(others) else onset + (tail + int(others[0])) * GRID
        struck = notes["onset"][(notes["onset"] > onset) & (notes["onset"] < stop)]
        stop = int(struck.min(initial=stop))
        if stop - onset > (TAIL + WINDOW) * recording.rate:
            yield key, Ringing(index, onset, stop, velocity)


def _longest(ringing: Sequence[Ringing], span: int) -> list[Ringing]:
    """The longest of them, at most `span` samples each, cut to one length."""
    lengths = [min(one.end - one.begin, span) for one in ringing]
    least = ALIKE * max(lengths, default=0)
    length = min((length for length in lengths if length >= least), default=0)
    return [replace(one, end=one.begin + length) for one in ringing if one.end - one.begin >= length]


def _mean(audio: Sequence[NDArray[np.float32]], ringing: Sequence[Ringing], piano: Piano, key: int) -> Real:
    """[time] mean at velocity 64, loud strikes counting more."""
    gains = [piano.gain(key, r.velocity) for r in ringing]
    parts = [audio[r.recording][r.begin : r.end].astype(np.float64) for r in ringing]
    total = sum(gain * part for gain, part in zip(gains, parts, strict=True))
    return np.asarray(total / np.square(gains).sum())


def aftersound(
    rest: Real, heard: Real, key: int, rate: int, loudest: float, harm: float = HARM
) -> PolesAndAmplitudes:
    """Poles (1/s) and amplitudes of the aftersound of a key, perhaps none.

    Args:
        rest: [time] what is left of a strike at velocity 64, from its onset.
        heard: [time] the strike.
        key: 0 to 87.
        rate: samples per second.
        loudest: gain of the loudest strike; what cannot be heard even then is left out.
        harm: see `slow_modes`.
    """
    none = np.zeros(0, dtype=np.complex128)
    size = 2 * (round(WINDOW * rate) // 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    if len(rest) < size + FEWEST * (size // 4):
        return none, none
    left, all_ = (
        np.lib.stride_tricks.sliding_window_view(x, size)[:: size // 4] * window for x in (rest, heard)
    )
    poles, amplitudes = [none], [none]
    for frequency in _peaks(left, all_, key, rate):
        seconds = np.arange(size) / rate
        turn = np.exp(-2j * np.pi * frequency * seconds) * (2 / window.sum())
        start = size // 4 / rate * np.arange(len(left))
        back = np.exp(-2j * np.pi * frequency * start)
        pole, amplitude = slow_modes((left @ turn) * back, (all_ @ turn) * back, float(start[1]), harm)
        amplitude = amplitude / window_effect(pole, window, rate)
        kept = np.abs(amplitude) * loudest > QUIETEST
        poles.append(pole[kept] + 2j * np.pi * frequency)
        amplitudes.append(amplitude[kept])
    return np.concatenate(poles), np.concatenate(amplitudes)


def _peaks(left: Real, heard: Real, key: int, rate: int) -> Real:
    """Frequencies in Hz of partials in what is left of frames [frames, size], all counting alike."""
    size = left.shape[1]
    powers = [np.abs(np.fft.rfft(frames, 2 * size)) ** 2 for frames in (left, heard)]
    share = (powers[0] / (powers[1].sum(axis=1, keepdims=True) + 1e-12)).mean(axis=0)
    bin_width = rate / (2 * size)
    apart = max(round(0.4 * float(equal_tempered(key)) / bin_width), 3)
    peaks = (share == maximum_filter1d(share, 2 * apart + 1)) & (share > FAINT * share.max())
    peaks[:3] = False
    return np.flatnonzero(peaks) * bin_width


def slow_modes(rest: Complex, heard: Complex, step: float, harm: float = HARM) -> PolesAndAmplitudes:
    """One or two slow modes of what is left of a partial, poles in 1/s from its frequency; perhaps none.

    They must explain the end of the partial, where errors are taken relative to the level of each frame, and
    must not do too much harm to the whole partial, where errors are taken relative to the root of the level
    (as in `diffsynth.fitting.refine`).

    Args:
        rest: [frames] complex envelope of what is left.
        heard: [frames] complex envelope of the partial.
        step: seconds between frames.
        harm: factor by which what is left of the whole partial may grow with every mode.
    """
    none = np.zeros(0, dtype=np.complex128)
    level = np.maximum(uniform_filter1d(np.abs(heard) ** 2, SMOOTH, mode="nearest"), 1e-12)
    wrong = uniform_filter1d(np.abs(rest) ** 2, SMOOTH, mode="nearest") / level
    to_the_end = np.cumsum(wrong[::-1])[::-1] / np.arange(len(wrong), 0, -1)
    begins = np.flatnonzero((wrong > WRONG) & (to_the_end > WRONG))
    if not len(begins) or len(rest) - begins[0] < FEWEST:
        return none, none
    late, time = slice(int(begins[0]), None), step * np.arange(len(rest))
    root = 1 / np.sqrt(level[late])
    best, error = (none, none), np.array([_power(rest[late] * root), _power(rest * level**-0.25)])
    slope = np.polyfit(time[late], np.log(np.abs(rest[late]) + 1e-9), 1)[0]
    flat = rest[late] * np.exp(-slope * time[: len(rest[late])])
    for order in (1, 2):
        pole = poles_of(flat, order, ROWS, step) + slope
        if not len(pole):
            break
        pole = pole[np.abs(pole.imag) < 2 * np.pi * NEAR]
        pole = np.clip(pole.real, -FASTEST, -MIN_DECAY) + 1j * pole.imag
        turns = np.exp(np.outer(time, pole))
        amplitude = np.linalg.lstsq(turns[late] * root[:, None], rest[late] * root, rcond=1e-2)[0]
        after = rest - turns @ amplitude
        errors = np.array([_power(after[late] * root), _power(after * level**-0.25)])
        if (errors < np.array([WORTH, harm]) * error).all():
            best, error = (pole, amplitude), errors
    return best


def _power(values: Complex) -> float:
    return float(np.sum(np.abs(values) ** 2))
