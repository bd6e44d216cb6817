"""Bands that are equally spaced in mel, or by another knee, and the share of each in a frequency."""

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]


KNEE = 700.0  # Hz, of mel: below it bands are about equally wide, above it they widen with frequency


def mel(frequency: Real | float, knee: float = KNEE) -> Real:
    """Mel of frequencies in Hz: 2595 log10(1 + f / 700), or the same with another knee."""
    return 2595.0 * np.log10(1.0 + np.asarray(frequency) / knee)


def centres_of(count: int, lowest: float, highest: float, knee: float = KNEE) -> Real:
    """[k] centre frequencies in Hz of so many bands from `lowest` to `highest`, equally spaced in mel."""
    return knee * (10.0 ** (np.linspace(mel(lowest, knee), mel(highest, knee), count) / 2595.0) - 1.0)


def places_of(frequency: Real, centres: Real, knee: float = KNEE) -> Real:
    """[n] places of frequencies (Hz) among band centres: 2.5 is half way from band 2 to band 3, in mel."""
    return np.asarray(np.interp(mel(frequency, knee), mel(centres, knee), np.arange(len(centres))))


def shares_of(frequency: Real, centres: Real, knee: float = KNEE) -> Real:
    """[k, n] share of each band in each frequency (Hz): triangles in mel that sum to one."""
    places = places_of(frequency, centres, knee)
    return np.maximum(0.0, 1.0 - np.abs(places - np.arange(len(centres))[:, None]))
