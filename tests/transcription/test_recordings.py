"""Which recordings are written down, where to, and what an interruption or wrong input leaves."""

import shutil
import sys
from dataclasses import astuple

import numpy as np
import pytest
import soundfile
from support.source_files import write_pair

from diffsynth.audio.files import stream_audio
from diffsynth.datasets.folder import find_pairs
from diffsynth.midi.events import CONTROL, NOTE_ON, SUSTAIN
from diffsynth.midi.files import read_midi
from diffsynth.runs.files import read_json
from diffsynth.transcription import recordings
from diffsynth.transcription.recordings import RECORD, find_recordings
from diffsynth.transcription.transkun import HEARD
from diffsynth.transcription.windows import EDGE, Onsets
from pipeline import app

RATE = 22050
ROWS = [(0.1, 0.6, -SUSTAIN, 127, 1.0), (0.1, 0.5, 60, 80, 0.9), (0.25, 0.4, 64, 1, 0.4)]


class Ear:
    """In place of the network, which takes seconds: the same two notes in all that is not silent."""

    rate = RATE

    def __init__(self):
        self.lengths = []

    def hear(self, samples, progress):
        self.lengths.append(len(samples))
        list(progress(range(2)))
        onsets = Onsets([60, 64, 70], 0.1)
        onsets.add(np.full((EDGE + 1, 3), 0.7, "f4"), -0.1 * EDGE)
        return np.array(ROWS if np.any(samples[:]) else ROWS[:1], dtype=HEARD), onsets


@pytest.fixture
def ear(monkeypatch):
    """What hears, instead of the network."""
    ear = Ear()
    monkeypatch.setattr(recordings, "_network", lambda: ear)
    return ear


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: app.run(list(words))


@pytest.fixture
def refused(run, tmp_path, capsys):
    """Runs a command that must be refused: exit code 2, one line, nothing left behind."""

    def refused(*words):
        before = sorted(tmp_path.rglob("*"))
        assert run(*words) == 2
        output = capsys.readouterr()
        assert (output.out, output.err.count("\n")) == ("", 1)
        assert sorted(tmp_path.rglob("*")) == before
        return output.err.removeprefix("diffsynth: ").rstrip("\n")

    return refused


def write_audio(path, seconds=1.0, level=0.5, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, level * np.sin(np.arange(int(seconds * rate)) / 10), rate)
    return path


def names(found):
    return [each.name for each in found.todo], [each.entry.name for each in found.done], found.own


def test_recordings_without_midi_are_taken_and_others_left_alone(tmp_path, run, ear, capsys):
    for name in ("one.wav", "below/two.flac", "below/three.four.ogg", ".hidden.wav"):
        write_audio(tmp_path / "in" / name)
    write_pair(tmp_path / "in", "labelled")
    (tmp_path / "in" / "labelled.mid").rename(tmp_path / "in" / "labelled.MID")
    mine = (tmp_path / "in" / "labelled.MID").read_bytes()
    write_audio(tmp_path / "in/twice.wav")
    write_audio(tmp_path / "in/twice.flac")
    write_audio(tmp_path / "in/silent.wav", level=0.0)
    (tmp_path / "in" / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    (tmp_path / "in" / "cut.flac").write_bytes((tmp_path / "in/below/two.flac").read_bytes()[:900])
    assert run("transcribe", "in") == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[:3] == [
        f"{name}: 2 notes of 2 keys in 1 s, 65.0% sure, 61.8% missed, 0% heard"
        for name in ("below/three.four", "below/two", "one")
    ]
    assert output.out.splitlines()[3] == "0 keys with 10 notes or more; fewer: C4, E4; none: A0 to B3, " + (
        "C#4 to D#4, F4 to C8"
    )
    errors = output.err.splitlines()
    assert errors[0] == "left out phone: phone.m4a: m4a cannot be read, convert it to WAV or FLAC"
    assert errors[1].startswith("left out twice: several audio files of this name: twice.")
    assert errors[2].startswith("left out cut: ")
    assert errors[3:] == [
        "left out silent: silent.wav: no notes are heard in it",
        "1 with MIDI of their own left as they are (see --force)",
    ]
    assert (tmp_path / "in" / "labelled.MID").read_bytes() == mine
    made = {path.relative_to(tmp_path / "in").as_posix() for path in (tmp_path / "in").rglob("*.mid")}
    assert made == {"one.mid", "below/two.mid", "below/three.four.mid"}
    pairs, set_aside = find_pairs(tmp_path / "in", progress=False)
    assert [pair.title for pair in pairs] == ["below/three.four", "below/two", "labelled", "one"]
    assert {item.name for item in set_aside} == {"cut", "silent", "twice"}
    report = (tmp_path / "results/transcribe/report.csv").read_text().splitlines()
    assert report[0].startswith("name,duration,notes,keys,sure,doubtful,missed,heard,pedals")
    assert report[1].startswith("below/three.four,1.0,2,2,0.65,1,0.6176,0.0,1,0,5,76,")
    keys = (tmp_path / "results/transcribe/keys.csv").read_text().splitlines()
    assert (len(keys), keys[40], keys[44]) == (89, "60,3,0.9,80,80", "64,3,0.4,1,1")


def test_midi_has_what_was_heard(tmp_path, ear):
    write_audio(tmp_path / "a.wav")
    (written,), _ = recordings.transcribe_all(find_recordings([tmp_path]).todo, 1, 1)
    events = read_midi(tmp_path / "a.mid")
    assert events.tolist() == [
        *((0.1, CONTROL, SUSTAIN, 127), (0.1, NOTE_ON, 60, 80), (0.25, NOTE_ON, 64, 1)),
        *((0.4, 0, 64, 0), (0.5, 0, 60, 0), (0.6, CONTROL, SUSTAIN, 0)),
    ]
    assert read_json(tmp_path / f"a{RECORD}")["entry"]["notes"] == written.entry.notes == 2


def test_what_is_done_is_not_done_again_and_what_was_changed_is_the_users(tmp_path, ear, run, capsys):
    for name in "abc":
        write_audio(tmp_path / "in" / f"{name}.wav", seconds={"a": 1, "b": 2, "c": 3}[name])
    recordings.transcribe_all(find_recordings([tmp_path / "in"]).todo[:2], 1, 1)  # interrupted
    assert run("transcribe", "in") == 0
    assert ear.lengths == [RATE, 2 * RATE, 3 * RATE]
    assert len(capsys.readouterr().out.splitlines()) == 4
    (tmp_path / "in" / "b.mid").write_bytes(b"corrected by hand")
    assert names(find_recordings([tmp_path / "in"])) == ([], ["a", "c"], ["b"])
    assert names(find_recordings([tmp_path / "in"], force=True)) == (["a", "b", "c"], [], [])
    assert run("transcribe", "in/b.wav", "--force") == 0
    assert len(read_midi(tmp_path / "in" / "b.mid")) == 6


def test_another_folder_gets_pairs_by_links(tmp_path, ear, run):
    write_audio(tmp_path / "in" / "deep" / "a.flac")
    write_audio(tmp_path / "b.wav")
    for _ in range(2):
        assert run("transcribe", "in", "b.wav", "--out", "in/out") == 0
    assert len(ear.lengths) == 2  # and not again
    pairs, _ = find_pairs(tmp_path / "in/out", progress=False)
    assert [pair.title for pair in pairs] == ["b", "deep/a"]
    assert (tmp_path / "in/out/deep/a.flac").resolve() == tmp_path / "in/deep/a.flac"
    assert not list((tmp_path / "in/deep").glob("*.mid"))
    assert names(find_recordings([tmp_path / "in"], tmp_path)) == (["deep/a"], [], ["out/b", "out/deep/a"])
    shutil.rmtree(tmp_path / "in/out")
    write_audio(tmp_path / "in" / "b.wav")
    assert run("transcribe", "in", "b.wav", "--out", "out") == 2


def test_a_failure_while_writing_leaves_no_midi(tmp_path, ear, monkeypatch):
    write_audio(tmp_path / "a.wav")

    def fail(path, *_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recordings, "write_midi", fail)
    with pytest.raises(OSError, match="No space"):
        recordings.transcribe_all(find_recordings([tmp_path]).todo, 1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_wrong_input_is_one_line(refused, tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "phone.m4a").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    assert refused("transcribe", "nowhere") == "nowhere does not exist"
    assert refused("transcribe", "text.txt") == "text.txt is no audio file by its name"
    assert refused("transcribe", "empty") == "empty holds no usable recording"
    reason = "phone: phone.m4a: m4a cannot be read, convert it to WAV or FLAC"
    assert refused("transcribe", "phone.m4a") == f"phone.m4a holds no usable recording ({reason})"
    write_audio(tmp_path / "a.wav")
    monkeypatch.setitem(sys.modules, "transkun", None)
    monkeypatch.setattr(recordings, "_network", recordings._network.__wrapped__)
    assert refused("transcribe", "a.wav") == (
        "transcription needs Transkun: pip install 'diffsynth-piano[transcription]'"
    )


def test_a_long_recording_is_heard_in_pieces(tmp_path, ear):
    audio = write_audio(tmp_path / "a.wav", seconds=40, rate=44100)
    recordings.transcribe_all(find_recordings([audio]).todo, 1, 1)
    assert ear.lengths == [sum(map(len, stream_audio(audio, RATE)))] == [40 * RATE]


def test_a_record_is_read_as_it_was_written(tmp_path, ear):
    write_audio(tmp_path / "a.wav")
    (written,), _ = recordings.transcribe_all(find_recordings([tmp_path]).todo, 1, 1)
    assert [astuple(each) for each in find_recordings([tmp_path]).done] == [astuple(written)]
