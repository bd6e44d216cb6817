"""A piano by formula, like no real one: what another instrument is when it plays the same notes."""

import numpy as np

from diffsynth.midi.events import KEYS, LOWEST_KEY
from diffsynth.piano.piano import Piano

PARTIALS = 24  # of a key
STRUCK = 8  # the hammer hits at this part of the length, so that every eighth partial is missing
STIFFNESS = 1e-4  # inharmonicity of key 24 (A2); twice as much every octave
HIGHEST = 0.45  # of the sample rate
LOUDNESS = 0.05  # amplitude of the fundamental, were it struck in the middle
RELEASE, EXPONENT = 20.0, 1.2  # 1/s, and of velocity; of all keys


def formula_piano(rate: int) -> Piano:
    """Stiff strings struck at an eighth of their length; partials are softer and shorter the higher they are.

    Partial n of a key lies at n f sqrt(1 + B n²) (Fletcher, "Normal vibration frequencies of a stiff piano
    string", 1964), has the amplitude |sin(pi n / 8)| / n and begins at 0. Beside a fitted piano it has
    another spectrum, other decays and other dampers, and nothing in common but its keys.

    Args:
        rate: sample rate in Hz; no partial lies above `HIGHEST` of it.
    """
    fundamental = 440 * 2 ** ((np.arange(KEYS) + LOWEST_KEY - 69) / 12)
    stiffness = STIFFNESS * 2 ** (np.arange(KEYS) / 12 - 2)
    orders = np.arange(1, PARTIALS + 1)
    key, order = (axis.ravel() for axis in np.meshgrid(np.arange(KEYS), orders, indexing="ij"))
    frequency = order * fundamental[key] * np.sqrt(1 + stiffness[key] * order**2)
    kept = (frequency < HIGHEST * rate) & (order % STRUCK > 0)
    amplitude = LOUDNESS * np.abs(np.sin(np.pi * order / STRUCK)) / order
    return Piano(
        key=key[kept],
        frequency=frequency[kept],
        decay=(0.5 + key / 30 + frequency / 1000)[kept],
        amplitude=np.complex128(-1j) * amplitude[kept],  # a sine, which begins at 0
        release=np.full(KEYS, RELEASE),
        exponent=np.full(KEYS, EXPONENT),
    )
