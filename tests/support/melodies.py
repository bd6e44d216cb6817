"""Random melodies, for tests by property."""

import numpy as np
from hypothesis import strategies as st

from diffsynth.midi.events import NOTE

# Notes of one key follow each other, touching at times: (key, gap before, length, velocity), in 1/8 s.
MELODIES = st.lists(
    st.tuples(st.integers(21, 108), st.integers(0, 5), st.integers(1, 9), st.integers(1, 127)), max_size=30
)


def notes_of(melody):
    """`NOTE` array, sorted by onset and key, in which no two notes of a key overlap."""
    end, rows = {}, []
    for key, gap, length, velocity in melody:
        onset = end.get(key, 0) + gap
        end[key] = onset + length
        rows.append((onset / 8, end[key] / 8, key, velocity))
    return np.array(sorted(rows, key=lambda row: (row[0], row[2])), NOTE)
