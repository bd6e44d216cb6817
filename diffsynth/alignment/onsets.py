"""Where notes begin in audio: one sharp curve for timing, one curve per key for recognition.

Both compare the logarithm of energy after a moment with that before it, so that a note counts by
how far it rises above what still rings, not by how loud it is.

`attack_curve` has short windows. The two that are compared touch at the moment they are about: an
attack peaks where the first holds nothing of it and the second nothing else, however loud it is.
(The spectral flux of overlapping windows peaks earlier the louder the note is, by up to half a
window.)

`KeyCurves` has long windows, which tell semitones apart above the bass. It computes the stretches that
are asked for and forgets them again: an hour of curves would be 130 MB.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
import scipy.sparse
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from diffsynth.audio.files import Audio, Samples, padded
from diffsynth.midi.events import HIGHEST_KEY, KEYS, LOWEST_KEY

Curve = NDArray[np.float32]

ATTACK_STEP = 0.001  # s, about: a whole number of samples
ATTACK_WINDOW = 0.004  # s
ATTACK_BANDS = 16
ATTACK_RANGE = (200.0, 11000.0)  # Hz: the hammer is heard here, at every key

KEY_STEP = 0.01  # s, about: a whole number of samples
KEY_WINDOW = 0.085  # s
KEY_LAG = 4  # steps from the moment to either window
KEY_TOP = 8000.0  # Hz
PARTIALS = (1, 2, 3, 4, 5, 6, 7, 8)
NEIGHBOURS = 13  # keys whose mean is taken off: an attack is noise in all of them, a pitch in one
LOWEST_BAND = 20.0  # MIDI number
BAND_WIDTH = 0.5  # semitones

# Energy below this share of the mean counts as none. It lets a note in silence rise as a note in
# music does; without it the first is found 2 ms before the second.
FLOOR = 1e-3
SILENCE = 1e-10  # mean square amplitude
FRAMES = 2048  # moments computed at a time
CACHED = 1 << 17  # samples of frames transformed at a time
DETUNINGS = (-1, 0, 1)  # of the piano that are tried, in bands (half semitones)
LOUD_WINDOW = 0.05  # s
KEPT = 12  # blocks held in memory, of bands and of key curves


class LogRises:
    """max(0, log energy `lag` steps later minus `lag` steps earlier) in bands, at any moments.

    Moment i is sample i * hop; there is one for every hop begun.
    """

    def __init__(self, audio: Samples, window: int, hop: int, lag: int, bands: NDArray[np.floating]) -> None:
        self._audio, self._window, self._hop, self._lag = audio, window, hop, lag
        self._taper = np.hanning(window + 2)[1:-1].astype(np.float32)
        # Sparse products are summed in one order on every machine and with any number of threads.
        self._weights = scipy.sparse.csr_array(bands.astype(np.float32))
        self._count = -(-len(audio) // hop)
        every = max(1, self._count // FRAMES)
        if every == 1:
            some = self._frames(0, self._count)
        else:
            some = np.stack([padded(audio, self._first(i), window) for i in range(0, self._count, every)])
        mean = self._energy(some).mean(axis=1)
        self._floor = FLOOR * mean[:, None] + SILENCE * window * (self._taper**2).sum()

    def __len__(self) -> int:
        return self._count

    def block(self, start: int, stop: int) -> Curve:
        """[bands, moments] from moment `start` to `stop`."""
        lag = self._lag
        level = np.log(self._energy(self._frames(start, stop - start + 2 * lag)) + self._floor)
        return np.maximum(level[:, 2 * lag :] - level[:, : -2 * lag], 0)

    def _frames(self, start: int, count: int) -> Audio:
        """[count, window] samples around the moments from `start` - lag."""
        part = padded(self._audio, self._first(start), (count - 1) * self._hop + self._window)
        return np.lib.stride_tricks.sliding_window_view(part, self._window)[:: self._hop]

    def _first(self, moment: int) -> int:
        """The first sample of the window `lag` steps before a moment."""
        return (moment - self._lag) * self._hop - self._window // 2

    def _energy(self, frames: Audio) -> Curve:
        """[bands, frames]; a few frames at a time, which fit into the processor's cache."""
        few = max(1, CACHED // self._window)
        return np.concatenate([self._few(frames[i : i + few]) for i in range(0, len(frames), few)], axis=1)

    def _few(self, frames: Audio) -> Curve:
        spectrum = scipy.fft.rfft(frames * self._taper, axis=1)
        power = spectrum.real**2
        power += spectrum.imag**2
        return self._weights @ power.T


class KeyCurves:
    """How much each key rises more than its neighbours, for the piano's detuning in `DETUNINGS`.

    `step` is the time in s from one moment to the next.
    """

    def __init__(self, audio: Samples, rate: int) -> None:
        hop, window = round(rate * KEY_STEP), 2 ** round(np.log2(rate * KEY_WINDOW))
        self.step = hop / rate
        self._rises = LogRises(audio, window, hop, KEY_LAG, _half_semitones(rate, window))
        self._bands: dict[int, Curve] = {}
        self._blocks: dict[tuple[int, int], Curve] = {}

    def __len__(self) -> int:
        return len(self._rises)

    def rows(self, start: int, count: int, detuning: int) -> tuple[Curve, NDArray[np.bool_]]:
        """[count, 88 keys] from moment `start`, which may lie outside, and which rows exist; others are 0."""
        result, there = np.zeros((count, KEYS), np.float32), np.zeros(count, bool)
        first = min(max(start, 0), len(self))
        last = max(min(start + count, len(self)), first)
        for block in range(first // FRAMES, -(-last // FRAMES)):
            begin, end = max(first, block * FRAMES), min(last, (block + 1) * FRAMES)
            rows = self._block(block, detuning)[begin - block * FRAMES : end - block * FRAMES]
            result[begin - start : end - start] = rows
            there[begin - start : end - start] = True
        return result, there

    def _block(self, block: int, detuning: int) -> Curve:
        """[moments, 88 keys] of one block."""
        start = block * FRAMES
        stop = min(start + FRAMES, len(self))
        rises = _kept(self._bands, block, lambda: self._rises.block(start, stop))
        return _kept(self._blocks, (block, detuning), lambda: _of_keys(rises, detuning))


def attack_curve(audio: Samples, rate: int) -> tuple[Curve, float]:
    """Rise of log energy summed over bands, [moments], and the step between moments in s."""
    hop, window = round(rate * ATTACK_STEP), 2 * round(rate * ATTACK_WINDOW / 2)
    edges = np.geomspace(ATTACK_RANGE[0], min(ATTACK_RANGE[1], 0.48 * rate), ATTACK_BANDS + 1)
    frequencies = scipy.fft.rfftfreq(window, 1 / rate)
    starts = np.unique(np.searchsorted(frequencies, edges))
    bin_number = np.arange(len(frequencies))
    inside = (bin_number >= starts[:-1, None]) & (bin_number < starts[1:, None])
    rises = LogRises(audio, window, hop, max(1, round(window / hop / 2)), inside.astype(np.float32))
    curve = np.empty(len(rises), np.float32)
    for start in range(0, len(rises), FRAMES):
        stop = min(start + FRAMES, len(rises))
        curve[start:stop] = rises.block(start, stop).sum(axis=0)
    return curve, hop / rate


def _kept(cache: dict[Any, Curve], name: Any, make: Callable[[], Curve]) -> Curve:
    """What `make` returns, made again only after `KEPT` others."""
    if name not in cache:
        cache[name] = make()
        for old in list(cache)[:-KEPT]:
            del cache[old]
    return cache[name]


def loudness_rise(audio: Samples, rate: int) -> tuple[Curve, float]:
    """How much louder (RMS) it is in the 50 ms after a moment than before it, and the step in s.

    Falling levels and soft clicks do not count. Finds recordings of a few notes, whatever their keys.
    """
    hop = round(rate * KEY_STEP)
    power = np.array([np.mean(np.square(audio[i : i + hop])) for i in range(0, len(audio), hop)])
    steps = round(LOUD_WINDOW / KEY_STEP)
    around = np.pad(power, steps + 1)
    # A recording may begin with the attack, or while something rings: nine tenths of its level before.
    around[1 : steps + 1] = power[:steps].mean() * 0.9**2
    sums = np.cumsum(around)
    mean = np.sqrt(np.maximum(sums[steps:] - sums[:-steps], 0) / steps)
    return np.maximum(mean[steps : steps + len(power)] - mean[: len(power)], 0).astype(np.float32), hop / rate


def _half_semitones(rate: int, window: int) -> NDArray[np.float64]:
    """[bands, bins] weights of bands of half a semitone; band 0 is centred on `LOWEST_BAND`."""
    frequencies = scipy.fft.rfftfreq(window, 1 / rate)
    top = 69 + 12 * np.log2(min(KEY_TOP, 0.45 * rate) / 440)
    numbers = np.arange(LOWEST_BAND, top, BAND_WIDTH)
    centres = 440 * 2 ** ((numbers[:, None] - 69) / 12)
    # Triangles one and a third bands to either side, but never narrower than a bin of the spectrum.
    reach = np.maximum(centres * (2 ** (BAND_WIDTH / 9) - 1), frequencies[1])
    return np.maximum(0, 1 - np.abs(frequencies - centres) / reach)


def _of_keys(rises: Curve, detuning: int) -> Curve:
    """[moments, 88 keys] of rises in half semitones, [bands, moments]."""
    curves = np.zeros((KEYS, rises.shape[1]), np.float32)
    weights = np.zeros((KEYS, 1), np.float32)
    keys = np.arange(LOWEST_KEY, HIGHEST_KEY + 1)
    for partial in PARTIALS:
        bands = np.rint((keys + 12 * np.log2(partial) - LOWEST_BAND) / BAND_WIDTH).astype(int) + detuning
        there = (bands >= 0) & (bands < len(rises))
        curves[there] += rises[bands[there]] / np.float32(np.sqrt(partial))
        weights[there] += 1 / np.sqrt(partial)
    curves /= np.maximum(weights, 1)
    curves -= uniform_filter1d(curves, NEIGHBOURS, axis=0)
    return np.ascontiguousarray(curves.T)
