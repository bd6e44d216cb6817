"""What of the past a segment needs: events before it that decide what sounds in it.

All events of the last seconds are kept; of those before, the pedals and the notes of keys whose dampers
have not fallen since. Where a pedal is never released that would be every note from the first one on, and
each segment would take longer than the one before. So what is older than a string can ring is reduced
to the dampers that are up: at most one strike and one release a key, and three pedals, whatever the past.
"""

import numpy as np

from diffsynth.midi.dampers import PEDAL_DOWN, Dampers
from diffsynth.midi.events import (
    CONTROL,
    EVENT,
    LOWEST_KEY,
    NOTE_OFF,
    NOTE_ON,
    PEDALS,
    SOSTENUTO,
    Events,
    to_samples,
)

RINGS = 60.0  # s after which a strike is not heard any more, even if nothing damps it


def history(events: Events, start: float, context: float, rings: float = RINGS) -> Events:
    """Events up to `start` (s) that decide what sounds then, at their own times.

    All events of the last `context` seconds; from before, the pedals and the notes of keys whose
    dampers had not fallen. What happened more than `rings` seconds ago, and before the context, comes
    as a few events in the second before that, which bring the dampers to where they were.
    """
    begin = start - context
    horizon = min(begin, start - rings)
    time = events["time"]
    early = events[(time >= horizon) & (time < begin)]
    recent = events[(time >= begin) & (time < start)]
    standing = _standing(np.concatenate([_dampers(events[time < horizon], horizon), early]))
    return np.concatenate([standing, recent])


def _numbered(events: Events) -> Events:
    """Events with the numbers of their rows as positions."""
    numbered = to_samples(events, 1)
    numbered["position"] = np.arange(len(events))
    return numbered


def _dampers(old: Events, horizon: float) -> Events:
    """Few events before `horizon` (s) that leave dampers and pedals as the old ones have left them.

    Keys that the sostenuto pedal has caught are struck before it goes down, the others after it.
    """
    dampers = Dampers()
    velocity = {key: value for _, what, key, value in dampers.actions(_numbered(old)) if what == "strike"}
    caught = dampers.caught if dampers.pedals[SOSTENUTO] >= PEDAL_DOWN else np.zeros_like(dampers.caught)

    def strikes(time: float, keys: np.ndarray) -> list[tuple[float, int, int, int]]:
        return [(time, NOTE_ON, key + LOWEST_KEY, velocity[key]) for key in np.flatnonzero(keys).tolist()]

    released = np.flatnonzero(dampers.ringing & ~dampers.finger).tolist()
    rows = [
        *strikes(horizon - 1.0, caught & dampers.ringing),
        *((horizon - 0.75, CONTROL, pedal, value) for pedal, value in dampers.pedals.items() if value),
        *strikes(horizon - 0.5, dampers.ringing & ~caught),
        *((horizon - 0.25, NOTE_OFF, key + LOWEST_KEY, 0) for key in released),
    ]
    return np.array(rows, dtype=EVENT)


def _standing(early: Events) -> Events:
    """Of events before the context: the notes of keys that still ring, and the pedals since then."""
    dampers = Dampers()
    began: dict[int, int] = {}
    for row, what, key, _ in dampers.actions(_numbered(early)):
        if what == "strike":
            began.setdefault(key, row)
        else:
            began.pop(key, None)
    control = early["kind"] == CONTROL
    kept = np.zeros(len(early), dtype=bool)
    for key, row in began.items():
        kept[row:] |= ~control[row:] & (early["number"][row:] == key + LOWEST_KEY)
    first = min(began.values(), default=len(early))
    for pedal in PEDALS:
        moves = np.flatnonzero(control & (early["number"] == pedal))
        kept[moves[max(0, int(np.searchsorted(moves, first)) - 1) :]] = True
    return early[kept]
