"""What a performance asks of an instrument, in numbers: how fast, how loud, how full, how pedalled.

`windows` describes stretches of equal length, `occurrences` single things that happen (a pedal held, a
key struck again). Both serve to compare music for training with real performances
(`coverage`).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.midi.dampers import PEDAL_DOWN, Dampers
from diffsynth.midi.events import CONTROL, SUSTAIN, Events, to_notes

WINDOW = 4.0  # s
TOGETHER = 0.03  # s between two onsets of one chord, at most

Array = NDArray[np.float64]
Steps = tuple[Array, Array]  # times in s, and the values that hold from each until the next
Statistics = Mapping[str, Array]


def windows(events: Events, length: float = WINDOW) -> dict[str, Array]:
    """Statistics of every whole window of `length` seconds from time 0, each [window].

    Returns:
        onset_rate: onsets per second.
        sounding, sounding_peak: keys whose strings ring because a finger or a pedal keeps the damper up,
            mean over time and greatest number.
        held: keys under fingers, mean over time.
        velocity, velocity_softest, velocity_loudest: of the onsets; NaN where there is none.
        chord_spread: loudest minus softest velocity of onsets at most `TOGETHER` apart, mean over
            groups of two and more; NaN where there is none.
        key, key_lowest, key_highest: MIDI numbers of the onsets; NaN where there is none.
        pedal: share of time with the sustain pedal down (controller at 64 or more).
        pedal_half: share of time with the controller near the middle (32 to 95).
        pedal_changes: times per second that the sustain pedal goes down.
        silence: seconds since the last onset, greatest in the window.
    """
    edges = np.arange(0, events["time"][-1] + 1e-9, length)
    sounding, pedal = _sounding(events), _pedal(events)
    down = (pedal[0], (pedal[1] >= PEDAL_DOWN).astype(float))
    notes = to_notes(events)
    result = {
        "onset_rate": np.histogram(notes["onset"], edges)[0] / length,
        "sounding": step_means(sounding, edges),
        "sounding_peak": _peaks(sounding, edges),
        "held": step_means(_held(notes), edges),
        "pedal": step_means(down, edges),
        "pedal_half": step_means((pedal[0], (np.abs(pedal[1] - 63.5) < 32).astype(float)), edges),
        "pedal_changes": np.histogram(_falls(down), edges)[0] / length,
        "silence": _silence(notes["onset"], edges),
    }
    of = np.searchsorted(edges, notes["onset"], side="right") - 1
    groups = [notes[of == i] for i in range(len(edges) - 1)]
    for name, least, greatest in (("velocity", "softest", "loudest"), ("key", "lowest", "highest")):
        values = [group[name].astype(float) for group in groups]
        result[name] = _each(values, np.mean)
        result[f"{name}_{least}"] = _each(values, np.min)
        result[f"{name}_{greatest}"] = _each(values, np.max)
    result["chord_spread"] = _each(groups, _chord_spread)
    return result


def occurrences(events: Events) -> dict[str, Array]:
    """Statistics of single things, one value each, in order.

    Returns:
        pedal_hold: seconds that the sustain pedal stays down, until it is lifted.
        repetition: seconds from one onset of a key to its next.
        note_length: seconds from the onset to the release of a key.
        gap: seconds from one onset to the next of any key.
        single_velocity, single_key: of every onset.
        pedal_value: every position the sustain pedal is moved to.
    """
    notes, pedal = to_notes(events), _pedal(events)
    down, up = _falls((pedal[0], (pedal[1] >= PEDAL_DOWN).astype(float))), pedal[0][_rises(pedal[1])]
    holds = min(len(down), len(up))
    by_key = notes[np.lexsort((notes["onset"], notes["key"]))]
    same = np.diff(by_key["key"].astype(int)) == 0
    return {
        "pedal_hold": up[:holds] - down[:holds],
        "repetition": np.diff(by_key["onset"])[same],
        "note_length": notes["offset"] - notes["onset"],
        "gap": np.diff(notes["onset"]),
        "single_velocity": notes["velocity"].astype(float),
        "single_key": notes["key"].astype(float),
        "pedal_value": pedal[1][1:],
    }


def step_means(steps: Steps, edges: Array) -> Array:
    """Mean over time of a step function, 0 before its first time, between neighbouring edges (s)."""
    times, values = steps
    area = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(times))])
    at = np.searchsorted(times, edges, side="right") - 1
    integral = np.where(at < 0, 0.0, area[at] + values[at] * (edges - times[at]))
    return np.diff(integral) / np.diff(edges)


def _sounding(events: Events) -> Steps:
    """Number of keys that ring, as a step function."""
    ringing, times, counts = set[int](), [0.0], [0.0]
    for time, action, key, _ in Dampers().actions(events):
        (ringing.add if action == "strike" else ringing.discard)(key)
        times.append(float(time))
        counts.append(float(len(ringing)))
    return np.array(times), np.array(counts)


def _held(notes: NDArray[np.void]) -> Steps:
    times = np.concatenate([[0.0], notes["onset"], notes["offset"]])
    steps = np.concatenate([[0.0], np.ones(len(notes)), -np.ones(len(notes))])
    order = np.argsort(times, kind="stable")
    return times[order], np.cumsum(steps[order])


def _pedal(events: Events) -> Steps:
    """Position of the sustain pedal, 0 to 127, up at first."""
    moves = events[(events["kind"] == CONTROL) & (events["number"] == SUSTAIN)]
    return np.append(0.0, moves["time"]), np.append(0.0, moves["value"].astype(float))


def _falls(down: Steps) -> Array:
    """Times when a pedal goes down, from its states 0 and 1."""
    return down[0][1:][np.diff(down[1]) > 0]


def _rises(position: Array) -> NDArray[np.bool_]:
    """Where a pedal that was down is up."""
    down = position >= PEDAL_DOWN
    return np.append(False, down[:-1] & ~down[1:])


def _peaks(steps: Steps, edges: Array) -> Array:
    times, values = steps
    peaks = []
    for begin, end in pairwise(edges):
        first, last = np.searchsorted(times, [begin, end], side="right")
        peaks.append(values[max(first - 1, 0) : max(last, 1)].max())
    return np.array(peaks)


def _silence(onsets: Array, edges: Array) -> Array:
    """Longest time since the last onset, or since 0 before the first, that is reached in each window."""
    longest = []
    for begin, end in pairwise(edges):
        before = onsets[onsets < begin]
        inside = onsets[(onsets >= begin) & (onsets < end)]
        marks = np.concatenate([[before[-1] if len(before) else 0.0], inside, [end]])
        longest.append(np.diff(marks).max())
    return np.array(longest)


def _chord_spread(notes: NDArray[np.void]) -> float:
    chords = np.split(notes["velocity"].astype(float), np.flatnonzero(np.diff(notes["onset"]) > TOGETHER) + 1)
    spreads = [np.ptp(chord) for chord in chords if len(chord) > 1]
    return float(np.mean(spreads)) if spreads else np.nan


def _each(groups: Sequence[NDArray[Any]], value: Callable[[NDArray[Any]], float]) -> Array:
    """A value of every group, NaN for those that are empty."""
    return np.array([value(group) if len(group) else np.nan for group in groups], dtype=np.float64)
