"""The stereo image: how much louder one channel is than another, by octave."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

from diffsynth.evaluation.metrics import Array

LOWEST = 62.5  # Hz, centre of the first octave
WINDOW = 8192  # samples
FAINT = 1e-6  # of the power of the loudest octave: softer ones are left out


def image_difference(target: Array, prediction: Array, rate: int) -> float:
    """How far the prediction's levels between channels are from the target's, in dB, in the worst octave.

    The level of each channel over that of the first, in octaves from `LOWEST` to half of the rate. Octaves
    that are 60 dB softer than the loudest of the target do not count.

    Args:
        target: samples, [time, c] of at least two channels.
        prediction: likewise.
        rate: of both, Hz.
    """
    powers = [_octaves(signal, rate) for signal in (target, prediction)]
    heard = powers[0].sum(axis=0) > FAINT * powers[0].sum(axis=0).max()
    between = [10 * np.log10(power[1:, heard] / power[0, heard]) for power in powers]
    return float(np.abs(between[1] - between[0]).max(initial=0.0))


def _octaves(signal: Array, rate: int) -> NDArray[np.float64]:
    """[c, octaves] power, with a trace of power in each so that silence can be compared."""
    frequency, power = welch(signal.T.astype(np.float64), rate, nperseg=min(WINDOW, len(signal)))
    octave = np.rint(np.log2(np.maximum(frequency, LOWEST / 2) / LOWEST)).astype(np.int64)
    sums = [power[:, octave == number].sum(axis=1) for number in range(octave.max() + 1)]
    return np.stack(sums, axis=1) + 1e-20
