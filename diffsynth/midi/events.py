"""Event streams: the one representation of a performance, from MIDI file to engine.

An event stream is a one-dimensional structured array of `EVENT`, sorted by time. The same
events with `position` (in samples) instead of `time` (in seconds) feed the synthesizer.
"""

import numpy as np
from numpy.typing import NDArray

NOTE_OFF, CONTROL, NOTE_ON = 0, 1, 2
SUSTAIN, SOSTENUTO, UNA_CORDA = 64, 66, 67
PEDALS = (SUSTAIN, SOSTENUTO, UNA_CORDA)
LOWEST_KEY, HIGHEST_KEY = 21, 108
KEYS = HIGHEST_KEY - LOWEST_KEY + 1

# `number` is the key of a note or the controller; `value` its velocity or position (0 to 127).
EVENT = np.dtype([("time", "<f8"), ("kind", "u1"), ("number", "u1"), ("value", "u1")])
SAMPLE_EVENT = np.dtype([("position", "<i8"), ("kind", "u1"), ("number", "u1"), ("value", "u1")])
NOTE = np.dtype([("onset", "<f8"), ("offset", "<f8"), ("key", "u1"), ("velocity", "u1")])

Events = NDArray[np.void]


def make_events(rows: list[tuple[float, int, int, int]]) -> Events:
    """Event stream from rows (time in s, kind, number, value), sorted.

    At equal times a release comes before a pedal movement before an onset, so that a repeated
    note ends before it starts again.
    """
    events = np.array(rows, dtype=EVENT)
    return events[np.lexsort((events["kind"], events["time"]))]


def from_notes(notes: NDArray[np.void], controls: Events | None = None) -> Events:
    """Event stream from a `NOTE` array and, if given, a stream of control events."""
    events = np.zeros(2 * len(notes), dtype=EVENT)
    on, off = events[: len(notes)], events[len(notes) :]
    on["time"], on["kind"], on["value"] = notes["onset"], NOTE_ON, notes["velocity"]
    off["time"], off["kind"] = notes["offset"], NOTE_OFF
    on["number"] = off["number"] = notes["key"]
    if controls is not None:
        events = np.concatenate([events, controls])
    return events[np.lexsort((events["kind"], events["time"]))]


def to_notes(events: Events) -> NDArray[np.void]:
    """`NOTE` array, by onset; a release without an onset is ignored.

    An onset of a key that is already down ends the note before it. A note that is never
    released ends with the last event.
    """
    notes: list[tuple[float, float, int, int]] = []
    down: dict[int, tuple[float, int]] = {}
    for time, kind, number, value in events.tolist():
        if kind == CONTROL:
            continue
        if number in down:
            onset, velocity = down.pop(number)
            notes.append((onset, time, number, velocity))
        if kind == NOTE_ON:
            down[number] = (time, value)
    end = float(events["time"][-1]) if len(events) else 0.0
    notes += [(onset, end, key, velocity) for key, (onset, velocity) in down.items()]
    result = np.array(notes, dtype=NOTE)
    return result[np.lexsort((result["key"], result["onset"]))]


def to_samples(events: Events, rate: float) -> NDArray[np.void]:
    """The same events with `position`, their time in samples at `rate` Hz, rounded."""
    result = np.zeros(len(events), dtype=SAMPLE_EVENT)
    result["position"] = np.rint(events["time"] * rate).astype(np.int64)
    for field in ("kind", "number", "value"):
        result[field] = events[field]
    return result
