"""Whitening: recordings with the same power in all thirds of an octave, so that what else sounds is noise."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.takes import Take

FFT = 0.25  # s, of the spectrum that recordings are whitened by
FLOOR = 1e-6  # of the loudest band, below which nothing is made louder
LOWEST, WIDTH = 40.0, 40.0  # Hz: rumble is left out, with so soft an edge
Real = NDArray[np.float64]


def whiten(recordings: Sequence[Take]) -> list[NDArray[np.float32]]:
    """[time] each recording with the same power in all thirds of an octave, power 1 over all."""
    rate = recordings[0].rate
    size = 2 * round(FFT * rate / 2)
    power = _thirds(np.sum([_powers(recording.audio, size) for recording in recordings], axis=0))
    gain = 1 / np.sqrt(np.maximum(power, FLOOR * power.max() + 1e-30))
    gain *= np.clip((np.arange(len(power)) * rate / size - LOWEST) / WIDTH, 0, 1)
    return [_filtered(recording.audio, gain) for recording in recordings]


def _powers(audio: NDArray[np.float32], size: int) -> Real:
    """[size / 2 + 1] power of a recording by frequency, summed over frames."""
    window = np.hanning(size)
    frames = (audio[begin : begin + size] for begin in range(0, len(audio) - size + 1, size))
    total = sum(np.abs(np.fft.rfft(frame * window)) ** 2 for frame in frames)
    return np.asarray(total + np.zeros(size // 2 + 1), dtype=np.float64)


def _thirds(power: Real) -> Real:
    """Means over a third of an octave around every bin, three bins at least."""
    bins, sums = np.arange(len(power)), np.concatenate([[0.0], np.cumsum(power)])
    low = np.maximum((bins * 2 ** (-1 / 6)).astype(np.int64) - 1, 0)
    high = np.minimum((bins * 2 ** (1 / 6)).astype(np.int64) + 2, len(power))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _filtered(audio: NDArray[np.float32], gain: Real) -> NDArray[np.float32]:
    """A recording with a gain for frequencies from 0 to the highest, without delay, at power 1."""
    size = 1 << len(audio).bit_length()
    spectrum = np.fft.rfft(audio, size)
    spectrum *= np.interp(np.linspace(0, len(gain) - 1, len(spectrum)), np.arange(len(gain)), gain)
    white = np.fft.irfft(spectrum, size)[: len(audio)]
    return (white / max(float(np.sqrt(np.mean(white**2))), 1e-30)).astype(np.float32)
