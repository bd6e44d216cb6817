"""Frequencies of keys and of the partials of their strings."""

import numpy as np
from numpy.typing import NDArray

from diffsynth.midi.events import KEYS, LOWEST_KEY

# Logarithm of B for every key of a grand piano.
TYPICAL_STIFFNESS = np.interp(np.arange(KEYS), [0, 30, 87], np.log([2.5e-4, 2e-4, 8e-3]))


def equal_tempered(key: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Frequency in Hz of a key (from 0) tuned to A4 = 440 Hz."""
    return 440.0 * 2.0 ** ((np.asarray(key) + LOWEST_KEY - 69) / 12)


def string_partials(fundamental: float, stiffness: float, count: int) -> NDArray[np.float64]:
    """Frequencies in Hz of the partials of a stiff string, k f0 sqrt(1 + B k^2).

    Fletcher, Blackham and Stratton, "Quality of piano tones" (1962), with B the stiffness.
    """
    k = np.arange(1, count + 1)
    return k * fundamental * np.sqrt(1 + stiffness * k**2)
