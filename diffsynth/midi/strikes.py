"""When every strike sounds: from its onset until its damper falls or the key is struck again."""

import numpy as np
from numpy.typing import NDArray

from diffsynth.midi.dampers import Dampers
from diffsynth.midi.events import KEYS, Events

TAIL = 0.2  # s that a note is counted as sounding after its damper has fallen
GRID = 128  # samples per step of the map of sounding keys

# One strike: from its onset until something else happens to the same key.
SOUNDING = np.dtype([("key", "i8"), ("velocity", "i8"), ("onset", "i8"), ("damp", "i8"), ("end", "i8")])


def soundings(events: Events, length: int) -> NDArray[np.void]:
    """`SOUNDING` rows of all strikes within the `length` samples of a recording, by onset.

    `damp` is where the damper falls, `end` the earlier of that and the next strike of the key;
    neither is beyond the end of the recording.
    """
    rows: list[list[int]] = []
    ringing: dict[int, list[list[int]]] = {key: [] for key in range(KEYS)}
    for position, what, key, velocity in Dampers().actions(events):
        if what == "strike":
            for row in ringing[key]:
                row[4] = min(row[4], position)
            row = [key, velocity, position, length, length]
            rows.append(row)
            ringing[key].append(row)
        else:
            for row in ringing[key]:
                row[3], row[4] = position, min(row[4], position)
            ringing[key].clear()
    notes = np.array([tuple(row) for row in rows if 0 <= row[2] < length], dtype=SOUNDING)
    for field in ("damp", "end"):
        notes[field] = notes[field].clip(max=length)
    return notes


def sounding_map(notes: NDArray[np.void], length: int, rate: int) -> NDArray[np.bool_]:
    """[88, length / GRID] whether a key sounds, its tail after the damper included."""
    sounds = np.zeros((KEYS, length // GRID + 1), dtype=bool)
    for key, _, onset, damp, _ in notes.tolist():
        sounds[key, onset // GRID : int(damp + TAIL * rate) // GRID + 1] = True
    return sounds
