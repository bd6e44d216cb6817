"""Whether an instrument is a sampler, in which every strike is a voice of its own.

Keys that are struck again while a pedal holds them tell: once the pedal rises under a finger, strings
go on as they are, but of a sampler's voices only the last is left (`diffsynth.midi.dampers`).
"""

from collections.abc import Sequence
from dataclasses import replace

from diffsynth.fitting.key_modes import remainder
from diffsynth.fitting.strokes import find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.piano.piano import Piano

BETTER = 1e-4  # of what strings leave: by so much less a sampler must leave, as rounding never does


def find_sampled(piano: Piano, recordings: Sequence[Take]) -> Piano:
    """The piano as a sampler if that explains the recordings clearly better, else as strings."""
    strings, sampler = (replace(piano, sampled=sampled) for sampled in (False, True))
    limit = (1 - BETTER) * _left(strings, recordings)
    return sampler if _left(sampler, recordings) < limit else strings


def _left(piano: Piano, recordings: Sequence[Take]) -> float:
    """Energy of what a piano does not explain, in squared samples."""
    rest = remainder(piano, recordings, find_strokes(recordings, piano))
    return sum(float(audio @ audio) for audio in rest)
