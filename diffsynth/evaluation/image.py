"""The stereo image: how much louder one channel is than another, by octave."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

from diffsynth.evaluation.metrics import Array

LOWEST = 62.5  # Hz, centre of the first octave
WINDOW = 8192  # samples
FAINT = 1e-6  # of the power of the loudest octave: softer ones are left out
SILENT = 1e-10  # power (-100 dB of full scale) of a loudest octave in which nothing is heard


def image_difference(target: Array, prediction: Array, rate: int) -> float:
    """How far the prediction's levels between channels are from the target's, in dB, in the worst octave.

    The level of each channel over that of the first, in octaves from `LOWEST` to half of the rate. Octaves
    that are 60 dB softer than the loudest of the target do not count; what is softer in a channel counts as
    that soft, and where either is silent there is no image.

    Args:
        target: samples, [time, c] of at least two channels.
        prediction: likewise.
        rate: of both, Hz.
    """
    powers = [_octaves(signal, rate) for signal in (target, prediction)]
    together = powers[0].sum(axis=0)
    if min(power.sum(axis=0).max() for power in powers) < SILENT:
        return 0.0
    heard, floors = together > FAINT * together.max(), [FAINT * power.sum(axis=0).max() for power in powers]
    levels = [
        10 * np.log10(np.maximum(power[:, heard], floor)) for power, floor in zip(powers, floors, strict=True)
    ]
    between = [level[1:] - level[0] for level in levels]
    return float(np.abs(between[1] - between[0]).max(initial=0.0))


def _octaves(signal: Array, rate: int) -> NDArray[np.float64]:
    """[c, octaves] mean square of each channel."""
    frequency, power = welch(
        signal.T.astype(np.float64), rate, nperseg=min(WINDOW, len(signal)), scaling="spectrum"
    )
    octave = np.rint(np.log2(np.maximum(frequency, LOWEST / 2) / LOWEST)).astype(np.int64)
    return np.stack(
        [power[:, octave == number].sum(axis=1) for number in range(max(octave.max(), 0) + 1)], axis=1
    )
