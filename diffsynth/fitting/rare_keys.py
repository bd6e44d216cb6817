"""Keys that are struck too rarely to be refined take the modes of the nearest key that was refined.

Keys that were never played had modes already, but from keys before refinement. The frequencies of partials
are moved to the pitch of the new key; the modes of attacks, the knock of hammer and case, are not moved.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.key_modes import modes_of, remainder
from diffsynth.fitting.matrix_pencil import MAX_DECAY
from diffsynth.fitting.refine import FOLD
from diffsynth.fitting.strokes import Strokes, energy, find_strokes, whole
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import KEYS
from diffsynth.midi.pitches import equal_tempered
from diffsynth.piano.piano import Piano

CLOSE = 0.035  # largest deviation of the ratio of two keys from equal temperament: 60 cents
BETTER = 1e-4  # of what its own modes leave: by so much less those taken must leave
Modes = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.complex128]]


def fill_unheard(piano: Piano, recordings: Sequence[Take], max_frequency: float) -> Piano:
    """The piano with the modes of keys that are hardly ever struck taken from the nearest that are.

    A key with some strikes keeps its own modes unless those of the other explain the strikes better.

    Args:
        piano: refined.
        recordings: that it was fitted to.
        max_frequency: Hz, above which there are no modes.
    """
    strokes = find_strokes(recordings, piano)
    sounding = np.unique(piano.key[piano.key < KEYS]).tolist()
    heard = [key for key in sounding if len(strokes[key].velocity) >= FOLD]
    if not heard:
        return piano
    rest, rate = remainder(piano, recordings, strokes), recordings[0].rate
    for key in sorted(set(sounding) - set(heard)):
        source = min(heard, key=lambda other: abs(other - key))
        taken = _take(piano, key, source, max_frequency)
        if _explains(piano, taken, key, strokes[key], rest, rate):
            piano = taken
    return piano


def _explains(
    piano: Piano, taken: Piano, key: int, strokes: Strokes, rest: list[NDArray[np.float32]], rate: int
) -> bool:
    """Whether the modes taken leave clearly less of the strikes of a key; `rest` is what its own leave.

    A key without strikes takes them.
    """
    left = [audio.copy() for audio in rest] if len(strokes.velocity) else rest
    modes_of(piano, key, strokes, rate).add(piano.amplitude[piano.key == key], left)
    modes_of(taken, key, strokes, rate).add(-taken.amplitude[taken.key == key], left)
    strikes = whole(strokes, np.arange(len(strokes.velocity)))
    own = float(energy(rest, strokes, strikes).sum())
    return bool(energy(left, strokes, strikes).sum() <= (1 - BETTER) * own)


def _take(piano: Piano, key: int, source: int, max_frequency: float) -> Piano:
    """The piano with the modes of one key taken from another."""
    others, sound = piano.key != key, _sound(piano, key, source, max_frequency)
    own = piano.key[others], piano.frequency[others], piano.decay[others], piano.amplitude[others]
    columns = [np.concatenate(pair) for pair in zip(own, sound, strict=True)]
    keys, frequency, decay, amplitude = (c[np.argsort(columns[0], kind="stable")] for c in columns)
    return replace(piano, key=keys, frequency=frequency, decay=decay, amplitude=amplitude)


def _sound(piano: Piano, key: int, source: int, max_frequency: float) -> Modes:
    """Modes for a key, taken from another one."""
    from_ = np.flatnonzero(piano.key == source)
    frequency, decay = piano.frequency[from_], piano.decay[from_]
    frequency = frequency * np.where(decay <= MAX_DECAY, _interval(piano, key, source), 1.0)
    kept = frequency < max_frequency
    return np.full(kept.sum(), key), frequency[kept], decay[kept], piano.amplitude[from_][kept]


def _interval(piano: Piano, key: int, source: int) -> float:
    """Ratio of the pitches of two keys, by the mode of each that is nearest to its fundamental."""
    tempered = float(equal_tempered(key) / equal_tempered(source))
    pitch = []
    for which in (key, source):
        strings = piano.frequency[(piano.key == which) & (piano.decay <= MAX_DECAY)]
        if not len(strings):
            return tempered
        pitch.append(strings[np.argmin(np.abs(strings / equal_tempered(which) - 1))])
    ratio = float(pitch[0] / pitch[1])
    return ratio if abs(ratio / tempered - 1) < CLOSE else tempered
