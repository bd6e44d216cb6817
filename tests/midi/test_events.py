import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.melodies import MELODIES, notes_of

from diffsynth.midi.events import (
    CONTROL,
    EVENT,
    NOTE,
    NOTE_OFF,
    NOTE_ON,
    SUSTAIN,
    from_notes,
    make_events,
    to_notes,
    to_samples,
)

EVENTS = st.lists(
    st.tuples(
        st.integers(0, 40).map(lambda tick: tick / 8),
        st.sampled_from([NOTE_OFF, CONTROL, NOTE_ON]),
        st.integers(60, 63),
        st.integers(1, 127),
    ),
    max_size=30,
)


@given(MELODIES)
@settings(deadline=None)
def test_notes_survive_as_events(melody):
    notes = notes_of(melody)
    assert to_notes(from_notes(notes)).tolist() == notes.tolist()


@given(EVENTS)
@settings(deadline=None)
def test_events_are_sorted_with_releases_before_pedals_before_onsets(rows):
    events = make_events(rows)
    order = list(zip(events["time"].tolist(), events["kind"].tolist(), strict=True))
    assert order == sorted(order)
    assert sorted(events.tolist()) == sorted(rows)


@given(EVENTS)
@settings(deadline=None)
def test_any_stream_gives_one_note_per_onset_and_none_overlap(rows):
    events = make_events(rows)
    notes = to_notes(events)
    onsets = [(t, n, v) for t, kind, n, v in events.tolist() if kind == NOTE_ON]
    assert sorted(onsets) == sorted((on, key, velocity) for on, _, key, velocity in notes.tolist())
    assert (notes["offset"] >= notes["onset"]).all()
    for key in np.unique(notes["key"]):
        own = notes[notes["key"] == key]
        assert (own["offset"][:-1] <= own["onset"][1:]).all()


def test_a_repeated_onset_ends_the_note_before_it_and_an_open_note_ends_with_the_stream():
    events = make_events(
        [(0.0, NOTE_ON, 60, 50), (1.0, NOTE_ON, 60, 70), (0.5, NOTE_OFF, 61, 0), (4.0, CONTROL, SUSTAIN, 0)]
    )
    assert to_notes(events).tolist() == [(0.0, 1.0, 60, 50), (1.0, 4.0, 60, 70)]


def test_controls_keep_their_place_among_notes():
    notes = np.array([(0.5, 1.0, 60, 64)], NOTE)
    controls = np.array([(1.0, CONTROL, SUSTAIN, 127), (0.5, CONTROL, SUSTAIN, 0)], EVENT)
    assert from_notes(notes, controls).tolist() == [
        (0.5, CONTROL, SUSTAIN, 0),
        (0.5, NOTE_ON, 60, 64),
        (1.0, NOTE_OFF, 60, 0),
        (1.0, CONTROL, SUSTAIN, 127),
    ]


def test_positions_are_times_rounded_to_samples():
    events = make_events([(-0.001, NOTE_ON, 60, 1), (0.0104, NOTE_OFF, 60, 0), (2.0, CONTROL, SUSTAIN, 9)])
    assert to_samples(events, 1000).tolist() == [
        (-1, NOTE_ON, 60, 1),
        (10, NOTE_OFF, 60, 0),
        (2000, CONTROL, SUSTAIN, 9),
    ]


def test_no_events():
    empty = make_events([])
    assert empty.dtype == EVENT
    assert len(to_notes(empty)) == len(from_notes(to_notes(empty))) == len(to_samples(empty, 24000)) == 0
