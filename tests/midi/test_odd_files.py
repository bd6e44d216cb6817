"""MIDI files that other programs write, send or damage: which key sounds when, and what is said."""

import gzip
import os
import struct

import pytest
from support.midi_bytes import (
    BOTH,
    HEARD,
    NOTE,
    SECOND,
    cc,
    chunk,
    meta,
    off,
    on,
    quantity,
    read,
    song,
    track,
)
from support.source_files import write_pair

from diffsynth.datasets.folder import find_pairs
from diffsynth.errors import UserError
from diffsynth.midi.files import read_midi
from diffsynth.synthesis.weights import save_voice
from pipeline.app import run


def riff(*chunks):
    parts = [name + struct.pack("<I", len(data)) + data + b"\x00" * (len(data) % 2) for name, data in chunks]
    body = b"RMID" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


TEXTS = b"INFOICMT\x0c\x00\x00\x00MThd is here"
HEADER = struct.pack(">HHH", 1, 1, 480)

RIGHT = {
    "RIFF with texts before the song": (riff((b"LIST", TEXTS), (b"data", song(NOTE))), HEARD),
    "RIFF with sounds after an odd length": (
        riff((b"data", song(NOTE) + b"\x00"), (b"DLS ", b"abcdefg")),
        HEARD,
    ),
    "RIFF that counts no bytes": (b"RIFF\0\0\0\0RMIDdata\0\0\0\0" + song(NOTE), HEARD),
    "a byte order mark before it": (b"\xef\xbb\xbf" + song(NOTE), HEARD),
    "a text before it": (b"Content-Type: audio/midi\r\n\r\n" + song(NOTE), HEARD),
    "a header that counts 8 bytes and has 6": (b"MThd\0\0\0\x08" + HEADER + NOTE, HEARD),
    "a header that counts no bytes": (b"MThd\0\0\0\0" + HEADER + NOTE, HEARD),
    "a header with a number of the other byte order": (b"MThd\x06\0\0\0" + HEADER + NOTE, HEARD),
    "bytes before and between tracks": (song(b"\0\1\xff??", NOTE, b"\xff\0noise", SECOND, count=2), BOTH),
    "zeros after the end of a track": (song(chunk(b"MTrk", NOTE[8:] + b"\0\0\0"), SECOND), BOTH),
    "one length for two tracks": (song(chunk(b"MTrk", NOTE[8:] + SECOND), count=2), BOTH),
    "no track is ended": (
        song(track((480, on(60)), (960, off(60)), end=b""), track((480, on(64)), (960, off(64)), end=b"")),
        BOTH,
    ),
    "strikes and releases by running status": (
        song(
            track(
                (480, on(60)),
                (720, bytes([60, 0])),
                (720, bytes([60, 90])),
                (800, meta(5, b"la")),
                (960, b"\xf0\x01\xf7"),
                (960, bytes([60, 0])),
            )
        ),
        {60: [(0.5, 0.75), (0.75, 1.0)]},
    ),
    "16 channels in one track, drums not played": (
        song(
            track(*[(480, on(60 + c, c)) for c in range(16)], *[(960, off(60 + c, c)) for c in range(16)]),
            kind=0,
        ),
        {60 + channel: [(0.5, 1.0)] for channel in range(16) if channel != 9},
    ),
    "the lowest and the highest key": (
        song(track((480, on(21)), (480, on(108)), (960, off(21)), (960, off(108)))),
        {21: [(0.5, 1.0)], 108: [(0.5, 1.0)]},
    ),
    "a pedal on the channel of drums that has no notes": (
        song(track((0, cc(64, 127, 9)), (480, on(60)), (600, off(60)), (960, cc(64, 0, 9)))),
        HEARD,
    ),
    "a pedal on the channel of drums that has notes": (
        song(track((0, cc(64, 127, 9)), (0, on(36, 9)), (480, on(60)), (960, off(60)), (2000, off(36, 9)))),
        HEARD,
    ),
    "sostenuto before the strike": (
        song(track((0, cc(66, 127)), (480, on(60)), (960, off(60)), (1440, cc(66, 0)))),
        HEARD,
    ),
    "sostenuto catches what only the pedal holds": (
        song(
            track(
                (0, cc(64, 127)),
                (480, on(60)),
                (500, off(60)),
                (550, cc(66, 127)),
                (600, cc(64, 0)),
                (960, cc(66, 0)),
            )
        ),
        HEARD,
    ),
    "all notes off under the pedal": (
        song(track((0, cc(64, 127)), (480, on(60)), (600, cc(123, 0)), (960, cc(64, 0)), end=1920)),
        HEARD,
    ),
    "controllers are reset under a finger": (
        song(track((0, cc(64, 127)), (480, on(60)), (600, cc(121, 0)), (960, off(60)))),
        HEARD,
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_an_odd_file_is_read_as_players_read_it(tmp_path, name):
    data, expected = RIGHT[name]
    spans, said = read(tmp_path / "x.mid", data)
    assert [line for line in said if "drums" not in line] == []
    assert {key: [pytest.approx(span, abs=1e-12) for span in at] for key, at in expected.items()} == spans


def test_a_change_to_a_piano_in_the_middle(tmp_path):
    changes = track(
        (0, b"\xc0\x28"), (0, on(64)), (480, off(64)), (480, b"\xc0\x00"), (480, on(60)), (960, off(60))
    )
    assert read(tmp_path / "x.mid", song(changes), programs="piano") == (
        HEARD,
        ["left out 1 note of other instruments"],
    )


def test_what_stands_after_the_end_of_a_track_is_said(tmp_path):
    more = chunk(b"MTrk", NOTE[8:] + quantity(0) + on(62) + quantity(480) + off(62))
    told = ["track 1 goes on after its end, which is left out"]
    assert read(tmp_path / "x.mid", song(more, SECOND)) == (BOTH, told)
    assert read(tmp_path / "x.mid", song(more)) == (HEARD, told)


def test_a_performance_of_hours_is_said_first(tmp_path):
    pause = 480 * 2 * 5400  # ticks of an hour and a half
    data = song(track((480, on(60)), (960, off(60)), (pause, on(64)), (pause + 480, off(64))), count=2)
    spans, said = read(tmp_path / "x.mid", data)
    assert spans == {60: [(0.5, 1.0)], 64: [(5400.0, 5400.5)]}
    assert said == ["it lasts 1.5 hours; its header counts 2 tracks, there are 1"]


def refused(path):
    with pytest.raises(UserError) as caught:
        read_midi(path)
    return str(caught.value).removeprefix(f"{path} ")


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.mid").mkdir()
    os.mkfifo(tmp_path / "pipe.mid")
    assert refused(tmp_path / "none.mid") == "does not exist"
    assert refused(tmp_path / "folder.mid") == "is not a file"
    assert refused(tmp_path / "pipe.mid") == "is not a file"
    assert refused(tmp_path / f"{'x' * 300}.mid") == "cannot be read: File name too long"


@pytest.mark.parametrize(
    "data",
    [gzip.compress(song(NOTE), mtime=0), b"<html>404</html>", riff((b"fmt ", b"\0" * 16))],
    ids=["gzip", "html", "riff"],
)
def test_other_formats(tmp_path, data):
    (tmp_path / "x.mid").write_bytes(data)
    assert refused(tmp_path / "x.mid") == "is not a readable MIDI file: it does not begin like one"


def test_a_render_that_no_file_can_hold_is_refused_in_one_line(make_voice, tmp_path, capsys):
    save_voice(tmp_path / "voice.safetensors", make_voice(), {})
    (tmp_path / "x.mid").write_bytes(song(track((0, on(60)), (0xFFFFFFF, off(60))), count=2))
    target = tmp_path / "x.wav"
    assert (
        run(["render", f"{tmp_path}/x.mid", str(target), "--weights", f"{tmp_path}/voice.safetensors"]) == 2
    )
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"diffsynth: the performance lasts 78 hours, and {target} can hold 25\n"
    assert not target.exists()


def test_notes_that_a_recording_has_and_its_events_lack_are_said(tmp_path):
    write_pair(tmp_path, "x")
    (tmp_path / "x.mid").write_bytes(song(NOTE, track((0, on(36, 9)), (10, off(36, 9)))))
    said = []
    pairs, set_aside = find_pairs(tmp_path, progress=False, say=said.append)
    assert (len(pairs), set_aside) == (1, [])
    assert said == [f"{tmp_path / 'x.mid'}: left out 1 note of drums"]
