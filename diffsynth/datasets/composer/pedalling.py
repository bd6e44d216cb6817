"""Pedal positions that move as a foot moves them, instead of switching between up and down.

Recorded performances hold ten and more positions of the sustain pedal a second, most of them between up and
down: a movement takes time, the foot rests on the pedal, presses it half, and trembles near the point where
the dampers rise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from diffsynth.midi.events import CONTROL, EVENT, SOSTENUTO, SUSTAIN, UNA_CORDA, Events

PERIOD = 0.02  # s between two positions, as in recordings of real pianos
Mark = tuple[float, float]  # time in s at which a foot starts to move, and the position it moves to

Habit = Literal["off", "legato", "rhythmic", "held", "flutter"]


@dataclass(frozen=True)
class Foot:
    """How the pedals of a passage are used.

    Attributes:
        habit: "off"; "legato", lifted at a change of harmony and pressed after it; "rhythmic", pressed at
            it and lifted before the next; "held", down throughout; "flutter", up and down all the time.
        rest: position (0 to 127) to which the pedal is lifted.
        depth: range of positions to which it is pressed; beyond 127 the pedal is at its end.
        travel: seconds that a movement takes.
        tremble: standard deviation of the position.
        una_corda: position of the soft pedal throughout; 0 leaves it alone.
        sostenuto: the sostenuto pedal is down from the first second on.
    """

    habit: Habit
    rest: float = 0.0
    depth: tuple[float, float] = (90.0, 127.0)
    travel: float = 0.08
    tremble: float = 0.0
    una_corda: int = 0
    sostenuto: bool = False


def press(rng: Generator, foot: Foot, changes: NDArray[np.float64], start: float, end: float) -> Events:
    """Movements of all pedals during a passage; every pedal is up at the end.

    Args:
        rng: source of everything that varies.
        foot: how the pedals are used.
        changes: times in s at which the harmony changes, ascending.
        start: s.
        end: s, when the last pedal starts to be lifted.
    """
    marks = [(t, p) for t, p in sorted(_marks(rng, foot, changes, start, end)) if t < end]
    parts = []
    if foot.habit != "off" or foot.rest:
        parts.append(trace(rng, [*marks, (end, 0.0)], foot.travel, foot.tremble, SUSTAIN))
    if foot.una_corda:
        soft = [(start, float(foot.una_corda)), (end, 0.0)]
        parts.append(trace(rng, soft, 2 * foot.travel, 0.0, UNA_CORDA))
    if foot.sostenuto and end > start + 1:
        rows = [(start + 1, CONTROL, SOSTENUTO, 127), (end, CONTROL, SOSTENUTO, 0)]
        parts.append(np.array(rows, dtype=EVENT))
    events = np.concatenate(parts) if parts else np.zeros(0, dtype=EVENT)
    return events[np.argsort(events["time"], kind="stable")]


def trace(rng: Generator, marks: Sequence[Mark], travel: float, tremble: float, pedal: int) -> Events:
    """Positions of a pedal every `PERIOD` s, where they differ from the one before; it starts at 0.

    Args:
        rng: source of the trembling.
        marks: where the foot goes and when, ascending in time; the last position has to be 0.
        travel: s that a movement takes; one that is not over when the next starts is cut short.
        tremble: standard deviation of the position while the foot is on the pedal.
        pedal: controller number.
    """
    begin, end = marks[0][0], marks[-1][0] + travel + PERIOD
    times = np.arange(begin, end, PERIOD)
    position, origin = np.zeros(len(times)), 0.0
    for i, (at, goal) in enumerate(marks):
        until = marks[i + 1][0] if i + 1 < len(marks) else np.inf
        inside = (times >= at) & (times < until)
        position[inside] = moved(times[inside] - at, origin, goal, travel)
        origin = float(moved(np.array([min(until - at, travel)]), origin, goal, travel)[0])
    wander = np.convolve(rng.normal(0, tremble, len(times) + 11), np.full(12, 12**-0.5), "valid")
    position = np.where(position > 0.5, position + wander, position)
    position[-1] = 0.0
    values = np.clip(np.rint(position), 0, 127).astype(int)
    new = np.append(True, np.diff(values) != 0)
    return np.array([(t, CONTROL, pedal, v) for t, v in zip(times[new], values[new], strict=True)], EVENT)


def moved(time: NDArray[np.float64], origin: float, goal: float, travel: float) -> NDArray[np.float64]:
    """Position `time` s after a smooth movement of `travel` s from `origin` to `goal` began."""
    share = np.clip(time / travel, 0, 1)
    return origin + (goal - origin) * share * share * (3 - 2 * share)


def _marks(rng: Generator, foot: Foot, changes: NDArray[np.float64], start: float, end: float) -> list[Mark]:
    """Where the sustain pedal goes, in any order."""
    marks = [(start, foot.rest)]
    if foot.habit == "held":
        marks.append((start + rng.uniform(0.0, 0.3), rng.uniform(*foot.depth)))
    elif foot.habit == "flutter":
        times = np.cumsum(rng.uniform(0.08, 0.45, int((end - start) / 0.2) + 1)) + start
        marks += [(t, foot.rest if i % 2 else rng.uniform(*foot.depth)) for i, t in enumerate(times.tolist())]
    elif foot.habit == "rhythmic":
        for at, after in zip(changes.tolist(), [*changes[1:].tolist(), end], strict=True):
            down = at + rng.uniform(0.0, 0.1)
            marks += [
                (down, rng.uniform(*foot.depth)),
                (down + rng.uniform(0.3, 0.9) * (after - at), foot.rest),
            ]
    elif foot.habit == "legato":
        for at in changes.tolist():
            up = at + rng.uniform(-0.03, 0.08)
            marks += [(up, foot.rest), (up + foot.travel + rng.uniform(0.03, 0.2), rng.uniform(*foot.depth))]
    return marks
