"""MIDI files as people have them, byte by byte: which key sounds from when to when, and what is said."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.midi_bytes import BOTH, HEARD, NOTE, SECOND, cc, chunk, meta, off, on, read, song, tempo, track
from support.random_midi import random_file
from support.slow_midi import differences

from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, NOTE_ON
from diffsynth.midi.files import read_midi

RIGHT = {
    "tempo in a later track": (
        song(NOTE, track((0, tempo(500_000)), (240, tempo(1_000_000)))),
        {60: [(0.75, 1.75)]},
    ),
    "tempo of no length": (song(track((0, tempo(0)), (480, on(60)), (960, off(60)))), HEARD),
    "tempo with a byte too many": (
        song(track((0, meta(0x51, b"\x0f\x42\x40\x00")), (480, on(60)), (960, off(60)))),
        {60: [(1.0, 2.0)]},
    ),
    "25 frames of 40 ticks": (
        song(track((0, tempo(9)), (500, on(60)), (1000, off(60))), division=0xE728),
        HEARD,
    ),
    "29.97 frames of 100 ticks": (
        song(track((30_000, on(60)), (60_000, off(60))), division=0xE364),
        {60: [(10.01, 20.02)]},
    ),
    "one tick a beat": (song(track((1, on(60)), (2, off(60))), division=1), HEARD),
    "32767 ticks a beat, more than ten million": (
        song(track((20_000_000, on(60)), (20_032_767, off(60))), division=32767),
        {60: [(20_000_000 / 65534, 20_032_767 / 65534)]},
    ),
    "type 2: one after the other": (
        song(track((0, tempo(250_000)), (480, on(60)), (960, off(60)), end=1920), NOTE, kind=2),
        {60: [(0.25, 0.5), (1.5, 2.0)]},
    ),
    "type 2: a pedal ends with its track": (
        song(track((0, cc(64, 127)), (0, on(60)), (480, off(60)), end=960), SECOND, kind=2),
        {60: [(0.0, 1.0)], 64: [(1.5, 2.0)]},
    ),
    "type 0 with two tracks": (song(NOTE, SECOND, kind=0), BOTH),
    "RIFF": (
        b"RIFF\x99\x00\x00\x00RMIDdata\x50\x00\x00\x00" + song(NOTE) + b"LIST\x04\x00\x00\x00INFO",
        HEARD,
    ),
    "128 bytes before it": (b"\x00" * 128 + song(NOTE), HEARD),
    "a longer header": (chunk(b"MThd", struct.pack(">HHHI", 1, 1, 480, 7)) + NOTE, HEARD),
    "unknown chunks": (song(chunk(b"XFIH", b"abc"), NOTE, chunk(b"cue ", b"MTr"), SECOND, count=2), BOTH),
    "bytes after the end": (song(NOTE) + b"\x00\x1a\x00", HEARD),
    "no end of the track": (song(track((480, on(60)), (960, off(60)), end=b""), SECOND), BOTH),
    "a track with nothing in it": (song(chunk(b"MTrk", b""), NOTE, track()), HEARD),
    "a length that is too long": (song(NOTE[:7] + bytes([NOTE[7] + 2]) + NOTE[8:], SECOND), BOTH),
    "a length that is too short": (song(NOTE[:7] + bytes([NOTE[7] - 6]) + NOTE[8:], SECOND), BOTH),
    "a length of everything": (song(NOTE[:4] + b"\xff" * 4 + NOTE[8:], SECOND), BOTH),
    "what no piano needs": (
        song(
            track(
                (0, meta(0x59, bytes([253, 2]))),
                (0, meta(0x58, b"\x00")),
                (0, meta(0x54, b"\xff" * 5)),
                (0, meta(0x01, "Größe".encode("utf16"))),
                (0, meta(0x7E, b"")),
                (0, b"\xf0\x05\x7e\x7f\x09\x01\xf7"),
                (0, b"\xf7\x02\xf3\x01"),
                (0, b"\xf8"),
                (0, b"\xe0\xff\x00"),
                (0, b"\xd0\xff"),
                (0, b"\xc0\xff"),
                (0, cc(7, 255)),
                (480, on(60, velocity=200)),
                (960, off(60)),
            )
        ),
        HEARD,
    ),
    "running status goes on over meta messages": (
        song(track((480, on(60)), (720, meta(1, b"x")), (960, bytes([60, 0])))),
        HEARD,
    ),
    "velocity 0 is a release": (song(track((480, on(60)), (960, on(60, velocity=0)))), HEARD),
    "a unison of two channels": (
        song(track((480, on(60)), (1920, off(60))), track((480, on(60, 1)), (600, off(60, 1)))),
        {60: [(0.5, 2.0)]},
    ),
    "a unison of two tracks on one channel": (
        song(track((480, on(60)), (1920, off(60))), track((480, on(60)), (600, off(60)))),
        {60: [(0.5, 2.0)]},
    ),
    "a unison in one track": (
        song(track((480, on(60)), (960, on(60)), (1440, off(60)), (1920, off(60)))),
        {60: [(0.5, 2.0)]},
    ),
    "never released": (song(track((480, on(60)), end=1920), track(end=9600)), {60: [(0.5, 2.0)]}),
    "a release of nothing": (song(track((0, off(60)), (480, on(60)), (960, off(60)), (970, off(60)))), HEARD),
    "no length, under the pedal": (
        song(track((0, cc(64, 127)), (480, on(60)), (480, off(60)), (960, cc(64, 0)))),
        HEARD,
    ),
    "the pedal before the release": (
        song(track((480, on(60)), (720, cc(64, 127)), (720, off(60)), (960, cc(64, 0)))),
        HEARD,
    ),
    "the release before the pedal": (
        song(track((480, on(60)), (960, off(60)), (960, cc(64, 127)), (1440, cc(64, 0)))),
        HEARD,
    ),
    "the pedal in a track of its own": (
        song(track((480, on(60)), (600, off(60))), track((0, cc(64, 127)), (960, cc(64, 0)))),
        HEARD,
    ),
    "the pedal on a channel of its own": (
        song(track((480, on(60)), (500, cc(64, 127, 5)), (600, off(60)), (960, cc(64, 0, 5)))),
        HEARD,
    ),
    "pedals of two channels": (
        song(
            track((0, cc(64, 127)), (480, on(60)), (600, off(60)), (960, cc(64, 0))),
            track((480, on(64, 1)), (720, off(64, 1))),
        ),
        {60: [(0.5, 1.0)], 64: [(0.5, 0.75)]},
    ),
    "sostenuto of one channel": (
        song(
            track((480, on(60)), (500, cc(66, 127)), (600, off(60)), (960, cc(66, 0))),
            track((480, on(64, 1)), (720, off(64, 1))),
        ),
        {60: [(0.5, 1.0)], 64: [(0.5, 0.75)]},
    ),
    "all notes off": (song(track((480, on(60)), (960, cc(123, 0)), end=1920)), HEARD),
    "all sound off": (
        song(track((0, cc(64, 127)), (480, on(60)), (600, off(60)), (960, cc(120, 0)), end=1920)),
        HEARD,
    ),
    "controllers are reset": (
        song(track((0, cc(64, 127)), (480, on(60)), (600, off(60)), (960, cc(121, 0)), end=1920)),
        HEARD,
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_file_is_read_as_players_read_it(tmp_path, name):
    data, expected = RIGHT[name]
    spans, said = read(tmp_path / "x.mid", data)
    assert said == []
    assert {key: [pytest.approx(span, abs=1e-12) for span in at] for key, at in expected.items()} == spans


SAID = {
    "its header counts 3 tracks, there are 1": song(NOTE, count=3),
    "there is no type 9: its tracks are played at once": song(NOTE, kind=9),
    "track 2 is cut short": song(NOTE, SECOND)[:-6],
    "track 1 is damaged, and its rest left out": song(
        track((480, on(60)), (960, off(60)), (970, b"\xf4"), (980, on(61)))
    ),
    "another file follows in it": song(NOTE) * 2,
    "left out 1 note of drums": song(NOTE, track((0, on(36, 9)), (10, off(36, 9)))),
    "left out 2 notes outside the keys of a piano": song(NOTE, track((0, on(20)), (1, on(109)))),
}


@pytest.mark.parametrize("line", SAID)
def test_what_is_missing_is_said_in_one_line(tmp_path, line):
    spans, said = read(tmp_path / "x.mid", SAID[line])
    assert spans[60] == [(0.5, 1.0)]
    assert said == [line]


def test_instruments_that_are_no_piano_can_be_left_out(tmp_path):
    data = song(track((0, b"\xc3\x28"), (480, on(64, 3)), (960, off(64, 3))), NOTE)
    assert read(tmp_path / "x.mid", data)[0] == BOTH
    assert read(tmp_path / "x.mid", data, programs="piano") == (
        HEARD,
        ["left out 1 note of other instruments"],
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"do re mi", "it does not begin like one"),
        (song(NOTE)[:12], "it is cut short in its header"),
        (song(), "there is no track in it"),
        (song(NOTE, division=0), "its header gives a tick no length"),
        (song(NOTE, division=0xE700), "its header gives a tick no length"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, data, reason):
    path = tmp_path / "x.mid"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_midi(path)
    assert str(caught.value) == f"{path} is not a readable MIDI file: {reason}"


def test_where_all_channels_have_one_pedal_its_moves_stay_events(tmp_path):
    path = tmp_path / "x.mid"
    pedal = [(240, 50), (250, 64), (700, 64), (960, 0)]
    path.write_bytes(
        song(
            track((0, on(60)), *((tick, cc(64, value)) for tick, value in pedal), (970, off(60))),
            track((300, on(64, 1)), (400, off(64, 1)), *((tick, cc(64, value, 1)) for tick, value in pedal)),
        )
    )
    events = read_midi(path)
    moves = events[events["kind"] == CONTROL]
    assert moves["value"].tolist() == [50, 64, 0]
    released = [round(time * 960) for time, kind, number, _ in events.tolist() if kind == 0]
    # In tick 960 one channel's pedal rises before the other's, which holds key 64 until then.
    assert released == [960, 970]
    assert events["time"][events["kind"] == NOTE_ON].tolist() == [0, 300 / 960]


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_files_sound_as_a_slow_reader_says(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / f"random-{seed % 7}.mid"
    random_file(random.Random(seed)).save(path)
    assert differences(path) == []
