"""Whether an instrument is a sampler, in which every strike is a voice of its own.

Keys that are struck again while a pedal holds them tell: once the pedal rises under a finger, strings
go on as they are, but of a sampler's voices only the last is left (`diffsynth.midi.dampers`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.strokes import find_strokes, remainder
from diffsynth.fitting.takes import Take
from diffsynth.piano.piano import Piano

EXPLAINED = 0.5  # share of the energy that may be left where both differ, or nothing is known of it


def find_sampled(piano: Piano, recordings: Sequence[Take]) -> Piano:
    """The piano as a sampler if that explains the recordings better, else as strings.

    Samples count by how much both differ there, and a piano that does not explain what is heard says
    nothing: it is always nearer to a recording that it does not know when it plays less.
    """
    strings, sampler = (replace(piano, sampled=sampled) for sampled in (False, True))
    left = [remainder(either, recordings, find_strokes(recordings, either)) for either in (strings, sampler)]
    heard, as_strings, as_sampler = np.zeros(3)
    for recording, one, other in zip(recordings, *left, strict=True):
        weight = (one - other) ** 2
        heard += _energy(recording.audio, weight)
        as_strings += _energy(one, weight)
        as_sampler += _energy(other, weight)
    return sampler if as_sampler < min(as_strings, EXPLAINED * heard) else strings


def _energy(audio: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    """Weighted, in squared samples."""
    return float(np.sum(audio.astype(np.float64) ** 2 * weight))
