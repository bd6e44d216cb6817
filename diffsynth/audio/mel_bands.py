"""Bands that are equally spaced in mel, and the share of each in a frequency."""

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]


def mel(frequency: Real | float) -> Real:
    """Mel of frequencies in Hz: 2595 log10(1 + f / 700)."""
    return 2595.0 * np.log10(1.0 + np.asarray(frequency) / 700.0)


def centres_of(count: int, lowest: float, highest: float) -> Real:
    """[k] centre frequencies in Hz of so many bands from `lowest` to `highest`, equally spaced in mel."""
    return 700.0 * (10.0 ** (np.linspace(mel(lowest), mel(highest), count) / 2595.0) - 1.0)


def places_of(frequency: Real, centres: Real) -> Real:
    """[n] places of frequencies (Hz) among band centres: 2.5 is half way from band 2 to band 3, in mel."""
    return np.asarray(np.interp(mel(frequency), mel(centres), np.arange(len(centres))))


def shares_of(frequency: Real, centres: Real) -> Real:
    """[k, n] share of each band in each frequency (Hz): triangles in mel that sum to one."""
    return np.maximum(0.0, 1.0 - np.abs(places_of(frequency, centres) - np.arange(len(centres))[:, None]))
