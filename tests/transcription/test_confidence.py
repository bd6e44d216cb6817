"""What is said of notes that were written down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.midi.events import to_samples
from diffsynth.piano.playing import play_whole
from diffsynth.transcription.confidence import Key, judge, keys_of, together
from diffsynth.transcription.transkun import HEARD, to_events
from diffsynth.transcription.windows import EDGE, Onsets

RATE, FRAME = 24000, 128
PITCHES = [-64, -67, *range(21, 109)]
# Nine notes and two pedals.
ROWS = [
    *((0.5 + 0.4 * i, 0.8 + 0.4 * i, 48 + 3 * i, 40 + 5 * i, 0.95) for i in range(8)),
    *((4.0, 4.5, 60, 90, 0.45), (0.4, 0.9, -64, 127, 1.0), (1.1, 1.3, -67, 127, 0.9)),
]


@pytest.fixture(scope="module")
def heard():
    return np.array(sorted(ROWS), dtype=HEARD)


def judged(heard, audio):
    # Of 16.1 onsets to be expected 8 * .95 + .45 = 8.05 are written: half of them.
    onsets = Onsets(PITCHES, 0.1)
    expected = np.full((EDGE + 40, len(PITCHES)), 0.019, "f4")  # too faint to count
    expected[EDGE:, PITCHES.index(100)] = 8.05 / 40
    expected[EDGE:, 0] = 1.0  # pedals are no notes
    onsets.add(expected, 0.0 - EDGE * 0.1)
    return judge("a/b", heard, onsets, to_events(heard), audio, RATE)


def test_numbers_of_notes_that_are_there_and_notes_that_are_not(heard, piano):
    events = to_events(heard)
    audio = play_whole(piano, to_samples(events, RATE), RATE, FRAME, 6 * RATE)
    entry = judged(heard, audio)
    assert (entry.name, entry.duration, entry.notes, entry.keys) == ("a/b", 6.0, 9, 8)
    assert entry.sure == pytest.approx(8.05 / 9, abs=1e-4)
    assert entry.missed == pytest.approx(0.5, abs=1e-3)
    assert (entry.doubtful, entry.pedals, entry.soft_pedals) == (1, 1, 1)
    assert (entry.softest, entry.loudest) == (42, 84)
    assert entry.heard > 0.85
    assert entry.tuning_cents == pytest.approx(0.0, abs=2.0)
    wrong = heard.copy()
    wrong["pitch"][wrong["pitch"] > 0] += 5
    assert judged(wrong, audio).heard < 0.3


def test_silence_hears_nothing(heard):
    assert judged(heard, np.zeros(6 * RATE, "f4")).heard == 0.0


def test_keys_are_counted(heard):
    keys = {key.key: key for key in keys_of(heard)}
    assert keys[60] == Key(60, 2, 0.7, 60, 90)
    assert keys[48] == Key(48, 1, 0.95, 40, 40)
    assert len(keys) == 8


NOTES = st.lists(st.tuples(st.integers(21, 108), st.integers(1, 127), st.floats(0, 1)), max_size=30)


@given(NOTES, NOTES)
def test_keys_of_two_recordings_are_those_of_one_with_the_notes_of_both(one, other):
    rows = [np.array([(0, 1, *note) for note in notes], dtype=HEARD) for notes in (one, other)]
    apart = together([key for each in rows for key in keys_of(each)])
    both = {key.key: key for key in keys_of(np.concatenate(rows))}
    assert [key.key for key in apart] == list(range(21, 109))
    for key in apart:
        same = both.get(key.key, Key(key.key, 0, 0.0, 0, 0))
        assert (key.notes, key.softest, key.loudest) == (same.notes, same.softest, same.loudest)
        assert key.sure == pytest.approx(same.sure, abs=2e-4)
