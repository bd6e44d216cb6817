"""Zimtohrli, a model of hearing: how audible a difference is. An optional extra, `perceptual`.

Source: https://github.com/google/zimtohrli
"""

from typing import TYPE_CHECKING

import numpy as np
import soxr

from diffsynth.evaluation.metrics import Array

if TYPE_CHECKING:
    from diffsynth.evaluation.pair import Pair

RATE = 48000  # Hz, which it was made for
STRETCH = 8.0  # s that are compared at once
SHORTEST = 1.0  # s; below a twentieth of a second, version 0.2.1 writes beyond its memory


def zimtohrli(pair: "Pair") -> float:
    """Distance of stretches of 8 s, the mean of them; 0 is equal, .01 is plainly audible.

    A last stretch of less than half that length is left out, unless it is the only one.

    Raises:
        ImportError: the package zimtohrli is not installed.
    """
    from zimtohrli import Pyohrli

    metric = Pyohrli()
    signals = [_prepare(signal, pair.rate) for signal in (pair.target, pair.prediction)]
    step = round(STRETCH * RATE)
    starts = range(0, max(1, len(signals[0]) - step // 2), step)
    return float(np.mean([metric.distance(*(signal[at : at + step] for signal in signals)) for at in starts]))


def _prepare(signal: Array, rate: int) -> Array:
    """A signal as the package takes it, at least `SHORTEST` long."""
    samples = np.clip(soxr.resample(signal, rate, RATE, quality="HQ"), -1.0, 1.0).astype(np.float32)
    return np.pad(samples, (0, max(0, round(SHORTEST * RATE) - len(samples))))
