"""Where notes begin in audio: one sharp curve for timing, one curve per key for recognition.

Both compare the logarithm of energy after a moment with that before it, so that a note counts by
how far it rises above what still rings, not by how loud it is.

`attack_curve` has short windows. The two that are compared touch at the moment they are about: an
attack peaks where the first holds nothing of it and the second nothing else, however loud it is.
(The spectral flux of overlapping windows peaks earlier the louder the note is, by up to half a
window.)

`key_rises` and `key_curves` have long windows, which tell semitones apart above the bass.
"""

from collections.abc import Iterator

import numpy as np
import scipy.fft
import scipy.sparse
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from diffsynth.audio import Audio
from diffsynth.events import HIGHEST_KEY, KEYS, LOWEST_KEY

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
FRAMES = 2048  # spectra held in memory at a time


def attack_curve(audio: Audio, rate: int) -> tuple[Curve, float]:
    """Rise of log energy summed over bands, [moments], and the step between moments in s."""
    hop, window = round(rate * ATTACK_STEP), 2 * round(rate * ATTACK_WINDOW / 2)
    edges = np.geomspace(ATTACK_RANGE[0], min(ATTACK_RANGE[1], 0.48 * rate), ATTACK_BANDS + 1)
    frequencies = scipy.fft.rfftfreq(window, 1 / rate)
    starts = np.unique(np.searchsorted(frequencies, edges))
    inside = (np.arange(len(frequencies)) >= starts[:-1, None]) & (
        np.arange(len(frequencies)) < starts[1:, None]
    )
    rises = _log_rises(audio, window, hop, max(1, round(window / hop / 2)), inside.astype(np.float32))
    return np.concatenate([rise.sum(axis=0) for rise in rises]), hop / rate


def key_rises(audio: Audio, rate: int) -> tuple[Curve, float]:
    """Rise of log energy in bands of half a semitone, [bands, moments], and the step in s.

    Band 0 is centred on MIDI number `LOWEST_BAND`.
    """
    hop, window = round(rate * KEY_STEP), 2 ** round(np.log2(rate * KEY_WINDOW))
    frequencies = scipy.fft.rfftfreq(window, 1 / rate)
    top = 69 + 12 * np.log2(min(KEY_TOP, 0.45 * rate) / 440)
    numbers = np.arange(LOWEST_BAND, top, BAND_WIDTH)
    centres = 440 * 2 ** ((numbers[:, None] - 69) / 12)
    # Triangles one and a third bands to either side, but never narrower than a bin of the spectrum.
    reach = np.maximum(centres * (2 ** (BAND_WIDTH / 9) - 1), frequencies[1])
    bands = np.maximum(0, 1 - np.abs(frequencies - centres) / reach)
    return np.concatenate(list(_log_rises(audio, window, hop, KEY_LAG, bands)), axis=1), hop / rate


def key_curves(rises: Curve, detuning: int = 0) -> Curve:
    """How much each key rises more than its neighbours, [moments, 88 keys].

    Args:
        rises: what `key_rises` returned, [bands, moments].
        detuning: of the piano, in bands (half semitones).
    """
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


def _log_rises(audio: Audio, window: int, hop: int, lag: int, bands: NDArray[np.floating]) -> Iterator[Curve]:
    """Blocks [bands, moments] of max(0, log energy `lag` steps later minus `lag` steps earlier).

    Moment i of all blocks together is sample i * hop; there is one for every hop begun.
    """
    before = lag * hop + window // 2
    padded = np.pad(audio, (before, before + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    count = -(-len(audio) // hop)
    taper = np.hanning(window + 2)[1:-1].astype(np.float32)
    # Sparse products are summed in one order on every machine and with any number of threads.
    weights = scipy.sparse.csr_array(bands.astype(np.float32))

    def energy(chosen: Curve) -> Curve:
        spectrum = scipy.fft.rfft(chosen * taper, axis=1)
        return weights @ (spectrum.real**2 + spectrum.imag**2).T

    every = max(1, count // FRAMES)
    floor = (
        FLOOR * energy(frames[:count:every]).mean(axis=1, keepdims=True) + SILENCE * window * (taper**2).sum()
    )
    for start in range(0, count, FRAMES):
        level = np.log(energy(frames[start : min(start + FRAMES, count) + 2 * lag]) + floor)
        yield np.maximum(level[:, 2 * lag :] - level[:, : -2 * lag], 0)
