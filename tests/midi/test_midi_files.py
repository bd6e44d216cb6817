import struct

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.melodies import MELODIES, notes_of

from diffsynth.errors import UserError
from diffsynth.midi.events import (
    CONTROL,
    EVENT,
    NOTE,
    NOTE_ON,
    PEDALS,
    SOSTENUTO,
    SUSTAIN,
    UNA_CORDA,
    from_notes,
    to_notes,
)
from diffsynth.midi.files import read_midi, write_midi

TICK = 1 / 960  # s, of write_midi's defaults
CONTROLS = st.lists(
    st.tuples(
        st.integers(0, 400).map(lambda tick: tick / 8),
        st.just(CONTROL),
        st.sampled_from(PEDALS),
        st.integers(0, 127),
    ),
    max_size=20,
    unique_by=lambda row: (row[0], row[2]),
)


def refused(path):
    """The message with which a file is refused, one line that names it."""
    with pytest.raises(UserError) as caught:
        read_midi(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def played(path):
    """Whether a file is read at all."""
    try:
        return len(read_midi(path)) > 0
    except UserError:
        return False


def by_hand(path, *messages, ticks=480):
    """A MIDI file of one track."""
    file = mido.MidiFile(ticks_per_beat=ticks)
    file.tracks.append(mido.MidiTrack(messages))
    file.save(path)
    return path


def note(kind, key, velocity, delay, channel=0):
    return mido.Message(kind, note=key, velocity=velocity, time=delay, channel=channel)


def table(array):
    """Rows of a structured array as numbers, ordered by column."""
    return np.array(sorted(array.tolist()), dtype=float).reshape(len(array), 4)


@given(melody=MELODIES.filter(len), controls=CONTROLS)
@settings(max_examples=40, deadline=None)
def test_written_events_are_read_back(tmp_path_factory, melody, controls):
    path = tmp_path_factory.mktemp("midi") / "x.mid"
    events = from_notes(notes_of(melody), np.array(controls, EVENT))
    write_midi(path, events)
    back = read_midi(path)
    assert table(to_notes(back)) == pytest.approx(table(to_notes(events)), abs=1e-9)
    pedals = back["kind"] == CONTROL
    assert table(back[pedals]) == pytest.approx(table(np.array(controls, EVENT)), abs=1e-9)
    assert (np.diff(back["time"]) >= 0).all()


def test_times_are_rounded_to_the_nearest_tick(tmp_path):
    write_midi(tmp_path / "x.mid", from_notes(np.array([(10.4 * TICK, 20.6 * TICK, 60, 64)], NOTE)))
    [note] = to_notes(read_midi(tmp_path / "x.mid")).tolist()
    assert note == pytest.approx((10 * TICK, 21 * TICK, 60, 64))


def test_tempo_changes_and_running_note_offs(tmp_path):
    # One beat at 0.5 s, then beats of 1 s; the note is struck after one beat and ends two later.
    path = by_hand(
        tmp_path / "x.mid",
        mido.MetaMessage("set_tempo", tempo=500_000, time=0),
        mido.MetaMessage("set_tempo", tempo=1_000_000, time=480),
        note("note_on", 64, 90, 0),
        note("note_on", 64, 0, 960),
    )
    assert to_notes(read_midi(path)).tolist() == [(0.5, 2.5, 64, 90)]


def test_the_three_pedals_are_read_and_other_controllers_are_not(tmp_path):
    moves = [(SUSTAIN, 127), (7, 100), (SOSTENUTO, 64), (UNA_CORDA, 1), (SUSTAIN, 40)]
    path = by_hand(
        tmp_path / "x.mid",
        note("note_on", 60, 64, 0),
        *(mido.Message("control_change", control=c, value=v, time=480) for c, v in moves),
        note("note_off", 60, 0, 480),
    )
    events = read_midi(path)
    assert events[events["kind"] == CONTROL].tolist() == [
        (0.5, CONTROL, SUSTAIN, 127),
        (1.5, CONTROL, SOSTENUTO, 64),
        (2.0, CONTROL, UNA_CORDA, 1),
        (2.5, CONTROL, SUSTAIN, 40),
    ]


def test_drums_and_keys_a_piano_does_not_have_are_left_out(tmp_path):
    keys = [(20, 0), (21, 0), (108, 0), (109, 0), (60, 9)]
    struck = [note("note_on", key, 64, 0, channel) for key, channel in keys]
    released = [note("note_off", key, 0, 480 if key == 20 else 0, channel) for key, channel in keys]
    events = read_midi(by_hand(tmp_path / "x.mid", *struck, *released))
    assert to_notes(events)["key"].tolist() == [21, 108]


def test_a_missing_file(tmp_path):
    assert "does not exist" in refused(tmp_path / "no.mid")
    assert "is not a file" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"do re mi\nfa sol\n", b"\xff" * 100, b"MThd", b"RIFF\x00\x00"])
def test_what_is_no_midi(tmp_path, content):
    (tmp_path / "x.mid").write_bytes(content)
    assert "is not a readable MIDI file" in refused(tmp_path / "x.mid")


def test_what_comes_before_a_cut_is_played_and_said(tmp_path):
    notes = np.array([(k * 0.25, k * 0.25 + 0.2, 60 + k, 64) for k in range(12)], NOTE)
    path = tmp_path / "x.mid"
    write_midi(path, from_notes(notes))
    whole, heard = path.read_bytes(), []
    for length in range(len(whole) - 4):  # what is after that is the mark of the end
        path.write_bytes(whole[:length])
        if not played(path):
            assert refused(path)
            heard.append(0)
            continue
        said = []
        events = read_midi(path, say=said.append)
        strikes = events[events["kind"] == NOTE_ON]
        assert strikes["number"].tolist() == list(range(60, 60 + len(strikes)))
        assert strikes["time"] == pytest.approx(notes["onset"][: len(strikes)])
        assert said == [f"{path}: track 1 is cut short"]
        with pytest.raises(UserError, match=r"is damaged: track 1 is cut short$"):
            read_midi(path, whole=True)
        heard.append(len(strikes))
    assert heard == sorted(heard)
    assert heard[-1] == 12


def test_a_midi_file_without_notes(tmp_path):
    empty = by_hand(tmp_path / "empty.mid", mido.Message("control_change", control=64, value=127, time=480))
    assert "holds no piano notes" in refused(empty)
    silent = by_hand(tmp_path / "silent.mid", note("note_on", 60, 0, 0), note("note_off", 60, 0, 480))
    assert "holds no piano notes" in refused(silent)
    header = tmp_path / "header.mid"
    header.write_bytes(b"MThd" + struct.pack(">IHHH", 6, 1, 0, 480))
    refused(header)


def test_writing_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    events = from_notes(np.array([(0, 1, 60, 64)], NOTE))
    with pytest.raises(UserError, match=r"cannot write .*x\.mid"):
        write_midi(tmp_path / "file" / "x.mid", events)
