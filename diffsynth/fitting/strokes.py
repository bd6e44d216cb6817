"""Strokes: what the modes of one key do between two events of that key.

From a strike until its damper falls or it is struck again, a key is a sum of free modes

    Re sum_p amplitude_p state_p z_p^t,    z_p = exp((2 pi i frequency_p - decay_p) / rate),

where `state` is the gain of the mode in the strike plus what is left of strikes before it. In a sampled
instrument all strikes of a key but the last one may end; then a new stroke begins, which is the last strike
at its age, and the others decay as if damped. `diffsynth.fitting.key_modes` plays strokes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.takes import Take
from diffsynth.midi.dampers import SOURCES, Dampers
from diffsynth.piano.piano import Piano


@dataclass(frozen=True)
class Strokes:
    """All strokes of one key.

    Attributes:
        recording: [n] which recording.
        onset: [n] sample in it.
        free: [n] samples until the damper falls, the key is struck again, or the recording ends.
        damps: [n] whether the damper falls then.
        carry: [n] samples since the stroke before, if its strings have not been damped; else 0.
        age: [n] samples of the strike at the onset; 0, unless older strikes of a sampled instrument end here.
        velocity: [n] how hard the strike is, 1 at velocity 64 (`Piano.hardness`) and for the pedal.
    """

    recording: NDArray[np.int64]
    onset: NDArray[np.int64]
    free: NDArray[np.int64]
    damps: NDArray[np.bool_]
    carry: NDArray[np.int64]
    age: NDArray[np.int64]
    velocity: NDArray[np.float64]


@dataclass(frozen=True)
class Pieces:
    """Parts of strokes of one key, and how much each counts in sums over them.

    Attributes:
        stroke: [m] which.
        offset: [m] samples from its onset.
        length: [m] samples.
        weight: [m] factor on squares and products.
    """

    stroke: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    weight: NDArray[np.float64]

    def of(self, strokes: NDArray[np.int64]) -> "Pieces":
        """Those that belong to some strokes."""
        kept = np.isin(self.stroke, strokes)
        return Pieces(self.stroke[kept], self.offset[kept], self.length[kept], self.weight[kept])


def whole(strokes: Strokes, chosen: NDArray[np.int64]) -> Pieces:
    """Strokes as one piece each, of weight 1."""
    return Pieces(chosen, np.zeros_like(chosen), strokes.free[chosen], np.ones(len(chosen)))


@dataclass
class _Stroke:
    """A stroke that has begun; `older` says whether strikes before its own sound in it."""

    onset: int
    velocity: float
    age: int = 0
    carry: int = 0
    older: bool = False


Ended = tuple[int, int, bool, int, int, float]  # onset, free, damps, carry, age, velocity


def find_strokes(recordings: Sequence[Take], piano: Piano) -> list[Strokes]:
    """The strokes of all 88 keys and of the pedal."""
    rows: list[list[tuple[int, *Ended]]] = [[] for _ in range(SOURCES)]
    for index, recording in enumerate(recordings):
        for key, row in _strokes_of(recording, piano):
            rows[key].append((index, *row))
    return [_columns(of_key) for of_key in rows]


def _strokes_of(
    recording: Take, piano: Piano
) -> Iterator[tuple[int, tuple[int, int, bool, int, int, float]]]:
    """Key and stroke (onset, free, damps, carry, age, velocity), of every key in order."""
    length = len(recording.audio)
    begun: dict[int, _Stroke] = {}

    def end(key: int, position: int, damps: bool) -> tuple[int, Ended]:
        stroke = begun.pop(key)
        return key, (stroke.onset, position - stroke.onset, damps, stroke.carry, stroke.age, stroke.velocity)

    for position, what, key, velocity in Dampers(piano.sampled, piano.knocks).actions(recording.events):
        if position >= length:
            break
        before = begun.get(key)
        if what == "renew" and not (before and before.older):
            continue
        if before:
            yield end(key, position, what == "damp")
        if what == "strike":
            carry = position - before.onset if before else 0
            begun[key] = _Stroke(position, piano.hardness(velocity), 0, carry, before is not None)
        elif what == "renew" and before:
            begun[key] = _Stroke(position, before.velocity, before.age + position - before.onset)
    for key in list(begun):
        yield end(key, length, False)


def _columns(rows: Sequence[tuple[int, *Ended]]) -> Strokes:
    columns = list(zip(*rows, strict=True)) if rows else [()] * 7
    kinds = (np.int64, np.int64, np.int64, np.bool_, np.int64, np.int64, np.float64)
    return Strokes(*(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)))


def energy(rest: Sequence[NDArray[np.float32]], strokes: Strokes, pieces: Pieces) -> NDArray[np.float64]:
    """[m] energy of what is left during pieces of strokes, in squared samples, not weighted."""
    recording, begin = strokes.recording[pieces.stroke], strokes.onset[pieces.stroke] + pieces.offset
    columns = zip(recording.tolist(), begin.tolist(), (begin + pieces.length).tolist(), strict=True)
    parts = (rest[index][start:end] for index, start, end in columns)
    return np.array([float(part @ part) for part in parts])
