"""Clicks: moments at which the whole upper part of the spectrum rises at once."""

import numpy as np
from scipy.ndimage import maximum_filter1d

from diffsynth.evaluation.metrics import Array

FFT, HOP = 256, 128  # samples
LEAST = 1e-6  # of the largest magnitude, -120 dB, added to all
RISE = 1.5  # nepers (13 dB) from one frame to the next
LOWEST = 1 / 4  # of the band up to half the sample rate: lower ones do not count
BROAD = 0.6  # share of the bins that rise, of more than which a frame is a jump,
NARROW = 0.3  # unless in the target as large a share rises
NEAR = 4  # within so many frames before or after


def jumps_per_minute(target: Array, prediction: Array, rate: int) -> float:
    """Frames a minute at which the prediction jumps and the target, nearby, does not; 0 is perfect.

    Args:
        target: magnitudes, [bins, frames], at FFT 256 and hop 128.
        prediction: likewise.
        rate: sample rate in Hz.
    """
    known, found = rising(target), rising(prediction)
    nearby = maximum_filter1d(known, 2 * NEAR + 1, mode="constant")
    minutes = len(found) * HOP / rate / 60.0
    return float(np.count_nonzero((found > BROAD) & (nearby < NARROW)) / minutes)


def rising(magnitudes: Array) -> Array:
    """Share of the upper bins that rise by more than `RISE` into each frame but the first, [frames - 1]."""
    upper = magnitudes[int(LOWEST * len(magnitudes)) :]
    if (least := LEAST * magnitudes.max()) == 0.0:  # also of what is hardly a number
        return np.zeros(magnitudes.shape[1] - 1)
    return (np.diff(np.log(upper + least), axis=1) > RISE).mean(axis=0)
