"""Whether a piano is a sampled instrument, in which every strike is a voice of its own.

Keys that are struck again while a pedal holds them show it. When the pedal rises and a finger still holds
the key, real strings ring on, but in a sampled instrument all voices but the last one end
(`diffsynth.midi.dampers`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.key_modes import remainder
from diffsynth.fitting.strokes import find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.piano.piano import Piano

BETTER = 1e-4  # of what strings leave: a sampled instrument must leave that much less, more than rounding
EXPLAINED = 0.5  # largest share of the energy that may be left where both differ; else nothing can be told


def find_sampled(piano: Piano, recordings: Sequence[Take]) -> Piano:
    """The piano as a sampled instrument if that explains the recordings clearly better, else as strings.

    Samples count by how much the two differ there. A piano that does not explain what is heard decides
    nothing: whatever plays less is nearer to a recording that it does not know.
    """
    strings, voices = (replace(piano, sampled=sampled) for sampled in (False, True))
    left = [remainder(either, recordings, find_strokes(recordings, either)) for either in (strings, voices)]
    heard, as_strings, as_voices = np.zeros(3)
    for recording, one, other in zip(recordings, *left, strict=True):
        weight = (one - other) ** 2
        heard += _energy(recording.audio, weight)
        as_strings += _energy(one, weight)
        as_voices += _energy(other, weight)
    return voices if as_voices < min((1 - BETTER) * as_strings, EXPLAINED * heard) else strings


def _energy(audio: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    """Weighted, in squared samples."""
    return float(np.sum(audio.astype(np.float64) ** 2 * weight))
