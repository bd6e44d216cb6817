"""Whether a piano is a sampled instrument, in which every strike is a voice of its own.

Keys that are struck again while a pedal holds them show it. When the pedal rises and a finger still holds
the key, real strings ring on, but in a sampled instrument all voices but the last one end
(`diffsynth.midi.dampers`).
"""

from collections.abc import Sequence
from dataclasses import replace

from diffsynth.fitting.strokes import find_strokes, remainder
from diffsynth.fitting.takes import Take
from diffsynth.piano.piano import Piano


def find_sampled(piano: Piano, recordings: Sequence[Take]) -> Piano:
    """The piano as a sampled instrument if that explains the recordings better, else as strings."""
    strings, sampler = (replace(piano, sampled=sampled) for sampled in (False, True))
    return sampler if _left(sampler, recordings) < _left(strings, recordings) else strings


def _left(piano: Piano, recordings: Sequence[Take]) -> float:
    """Energy of what a piano does not explain, in squared samples."""
    rest = remainder(piano, recordings, find_strokes(recordings, piano))
    return sum(float(audio @ audio) for audio in rest)
