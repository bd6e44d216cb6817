"""Whether a piano is a sampled instrument, in which every strike is a voice of its own.

Keys that are struck again while a pedal holds them show it. When the pedal rises and a finger still holds
the key, real strings ring on, but in a sampled instrument all voices but the last one end
(`diffsynth.midi.dampers`).
"""

from collections.abc import Sequence
from dataclasses import replace

from diffsynth.fitting.key_modes import remainder
from diffsynth.fitting.strokes import find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.piano.piano import Piano

BETTER = 1e-4  # of what strings leave: a sampled instrument must leave that much less, more than rounding


def find_sampled(piano: Piano, recordings: Sequence[Take]) -> Piano:
    """The piano as a sampled instrument if that explains the recordings clearly better, else as strings."""
    strings, voices = (replace(piano, sampled=sampled) for sampled in (False, True))
    limit = (1 - BETTER) * _left(strings, recordings)
    return voices if _left(voices, recordings) < limit else strings


def _left(piano: Piano, recordings: Sequence[Take]) -> float:
    """Energy of what a piano does not explain, in squared samples."""
    rest = remainder(piano, recordings, find_strokes(recordings, piano))
    return sum(float(audio @ audio) for audio in rest)
