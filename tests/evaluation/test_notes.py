"""Scores of notes: cases counted by hand, and mir_eval's own."""

import math

import mir_eval
import numpy as np
import pytest

from diffsynth.evaluation.notes import SCORES, match_notes
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events, to_samples
from diffsynth.midi.strikes import soundings

pytestmark = pytest.mark.filterwarnings("error")
RATE, LENGTH = 24000, 10 * 24000


def rows(notes, controls=()):
    """Strikes of notes (onset, offset in s, MIDI number, velocity) and controls (time, number, value)."""
    events = [(on, NOTE_ON, key, velocity) for on, _, key, velocity in notes]
    events += [(off, NOTE_OFF, key, 0) for _, off, key, _ in notes]
    events += [(time, CONTROL, number, value) for time, number, value in controls]
    return soundings(to_samples(make_events(events), RATE), LENGTH)


def scores(played, heard):
    matched = match_notes(played, heard, RATE)
    return tuple(matched.f1(name) for name in SCORES)


PLAYED = [(1.0, 2.0, 60, 40), (2.0, 3.0, 64, 60), (3.0, 4.0, 67, 80), (4.0, 5.0, 72, 100)]


def test_what_was_played_is_what_is_heard():
    assert scores(rows(PLAYED), rows(PLAYED)) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({0: (1.049, 2.0, 60, 40)}, (1.0, 1.0, 1.0)),
        ({0: (1.051, 2.0, 60, 40)}, (0.75, 0.75, 0.75)),
        ({0: (1.0, 2.0, 61, 40)}, (0.75, 0.75, 0.75)),
        ({0: (1.0, 2.19, 60, 40)}, (1.0, 1.0, 1.0)),  # a fifth of a second
        ({0: (1.0, 2.21, 60, 40)}, (1.0, 0.75, 0.75)),
        ({0: None}, (6 / 7, 6 / 7, 6 / 7)),  # precision 1, recall 3/4
        ({4: (6.0, 7.0, 50, 60)}, (8 / 9, 8 / 9, 8 / 9)),  # precision 4/5, recall 1
    ],
)
def test_one_note_that_is_heard_otherwise(change, expected):
    heard = [change.get(index, note) for index, note in enumerate([*PLAYED, None])]
    assert scores(rows(PLAYED), rows([note for note in heard if note])) == pytest.approx(expected)


def test_velocities_count_as_far_as_a_line_does_not_explain_them():
    def heard(*velocities):
        return rows([(*note[:3], velocity) for note, velocity in zip(PLAYED, velocities, strict=True)])

    assert scores(rows(PLAYED), heard(30, 40, 50, 60)) == (1.0, 1.0, 1.0)
    # Played are 0, 1/3, 2/3 and 1 of the range; the line through what is heard says 0, 1/2, 1/2 and 1.
    assert scores(rows(PLAYED), heard(40, 70, 70, 100)) == (1.0, 1.0, 0.5)


def test_a_pedal_holds_what_a_finger_would():
    pedalled = rows([(1.0, 1.1, 60, 64), (2.0, 2.1, 60, 64)], [(0.5, SUSTAIN, 127), (4.0, SUSTAIN, 0)])
    held = rows([(1.0, 2.0, 60, 64), (2.0, 4.0, 60, 64)])
    short = rows([(1.0, 1.1, 60, 64), (2.0, 2.1, 60, 64)])
    assert scores(pedalled, held) == scores(held, pedalled) == (1.0, 1.0, 1.0)
    assert scores(pedalled, short) == (1.0, 0.0, 0.0)


def test_silence_is_right_where_nothing_was_played():
    nothing = rows([])
    assert scores(nothing, nothing) == (1.0, 1.0, 1.0)
    assert scores(rows(PLAYED), nothing) == scores(nothing, rows(PLAYED)) == (0.0, 0.0, 0.0)


def test_a_part_counts_notes_that_begin_in_it():
    heard = rows([(1.0, 2.0, 60, 40), (2.0, 3.0, 65, 60), (3.0, 3.1, 67, 80), (4.0, 5.0, 72, 100)])
    matched = match_notes(rows(PLAYED), heard, RATE)
    parts = [matched.part(begin * RATE, (begin + 1) * RATE) for begin in range(1, 6)]
    assert [part.f1("note_f1") for part in parts] == [1, 0, 1, 1, 1]
    assert [part.f1("note_offset_f1") for part in parts] == [1, 0, 0, 1, 1]
    assert parts[2].onset.tolist() == [0, 0]
    assert parts[4].onset.tolist() == []


def random_notes(random, count):
    onset = np.sort(random.uniform(0, 8, count))
    length, key = random.uniform(0.1, 0.5, count), np.arange(40, 40 + count)
    return [*zip(onset, onset + length, key, random.integers(20, 110, count), strict=True)]


def test_scores_are_those_of_mir_eval():
    random = np.random.default_rng(3)
    played = random_notes(random, 40)
    heard = [
        (on + random.normal(0, 0.03), off + random.normal(0, 0.1), key, velocity * 0.5 + random.normal(30, 8))
        for on, off, key, velocity in played[:35]
    ]
    heard = [(on, max(off, on + 0.05), key, int(velocity)) for on, off, key, velocity in heard]
    intervals, pitches, velocities = [], [], []
    for notes in (played, heard):
        notes = sorted((max(0, on), off, key, velocity) for on, off, key, velocity in notes)
        intervals.append(np.array([note[:2] for note in notes]))
        pitches.append(np.array([440 * math.exp2((note[2] - 69) / 12) for note in notes]))
        velocities.append(np.array([note[3] for note in notes]))
    plain = [intervals[0], pitches[0], intervals[1], pitches[1]]
    loud = [intervals[0], pitches[0], velocities[0], intervals[1], pitches[1], velocities[1]]
    expected = (
        mir_eval.transcription.precision_recall_f1_overlap(*plain, offset_ratio=None)[2],
        mir_eval.transcription.precision_recall_f1_overlap(*plain)[2],
        mir_eval.transcription_velocity.precision_recall_f1_overlap(*loud)[2],
    )
    assert 0.1 < expected[2] < expected[1] < expected[0] < 0.95
    assert scores(rows(played), rows(heard)) == pytest.approx(expected)
