"""Pairs of MIDI and audio in a folder of the user's."""

import math
import shutil

import numpy as np
import pytest
import soundfile
from support.source_files import QUIET, dataset, write_pair

from diffsynth.audio.files import clipped
from diffsynth.datasets.folder import find_pairs
from diffsynth.datasets.manifest import read_manifest, verify
from diffsynth.datasets.registry import bring
from diffsynth.datasets.rendered import midi_jobs
from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, make_events
from diffsynth.midi.files import write_midi
from diffsynth.runs.files import sha256


@pytest.mark.parametrize("suffix", [".kar", ".rmi", ".MIDI"])
def test_a_midi_file_by_any_of_its_names_is_a_partner_unless_it_is_damaged(tmp_path, suffix):
    write_pair(tmp_path, "whole")
    write_pair(tmp_path, "cut")
    for name in ("whole", "cut"):
        (tmp_path / f"{name}.mid").rename(tmp_path / f"{name}{suffix}")
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(cut.read_bytes()[:-5])
    pairs, set_aside = find_pairs(tmp_path, progress=False)
    assert [pair.midi.name for pair in pairs] == [f"whole{suffix}"]
    assert [item.reason for item in set_aside] == [f"{cut} is damaged: track 1 is cut short"]


def test_a_folder_of_pairs_is_copied_and_the_rest_set_aside(tmp_path):
    root = tmp_path / "my music"
    (root / "Été").mkdir(parents=True)
    write_pair(root, "one")
    write_pair(root, "two words. no. 2", suffix=".flac", rate=44100, seconds=2.5)
    write_pair(root / "Été", "夜想曲", suffix=".mp3", rate=44100)
    write_pair(root, "STEREO")
    soundfile.write(root / "STEREO.wav", np.zeros((3000, 2)), 37123)
    (root / "one.mid").rename(root / "one.MID")
    write_pair(root, "lonely midi")
    (root / "lonely midi.wav").unlink()
    write_pair(root, "lonely audio")
    (root / "lonely audio.mid").unlink()
    write_pair(root, "empty")
    soundfile.write(root / "empty.wav", np.zeros(0), 44100)
    write_pair(root, "nan")
    soundfile.write(root / "nan.wav", np.array([0.0, math.nan, 0.1]), 44100, subtype="FLOAT")
    write_pair(root, "text")
    (root / "text.mid").write_text("this is no MIDI file")
    write_pair(root, "noise")
    (root / "noise.wav").write_bytes(b"RIFFnothing")
    write_pair(root, "no notes")
    write_midi(root / "no notes.mid", make_events([(0.5, CONTROL, 64, 127)]))
    write_pair(root, "twice")
    shutil.copy(root / "one.wav", root / "twice.aiff")
    write_pair(root, ".hidden")
    manifest = bring(dataset(name="folder", root=str(root)), tmp_path / "raw", QUIET)

    assert {p.title: p.name for p in manifest.performances} == {
        "STEREO": "STEREO",
        "one": "one",
        "two words. no. 2": "two_words_no_2",
        "Été/夜想曲": "Été_夜想曲",
    }
    reasons = {item.name: item.reason for item in manifest.set_aside}
    expected = {
        "lonely midi": "no audio file",
        "lonely audio": "no MIDI file of this name; `diffsynth transcribe` writes one",
        "empty": "no samples",
        "nan": "not numbers",
        "text": "not a readable MIDI file",
        "noise": "not a readable audio file",
        "no notes": "no piano notes",
        "twice": "several audio files",
    }
    assert reasons.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in reasons[name]
    by_name = {p.name: p for p in manifest.performances}
    assert by_name["two_words_no_2"].duration == 2.5
    assert by_name["STEREO"].duration == pytest.approx(3000 / 37123, abs=1e-6)
    assert by_name["one"].audio_sha256 == sha256(root / "one.wav")
    assert {p.split for p in manifest.performances} == {"train", "validation", "test"}
    verify(tmp_path / "raw", read_manifest(tmp_path / "raw"))
    (tmp_path / "raw" / "one.wav").write_bytes(b"")
    assert (root / "one.wav").stat().st_size > 0  # a copy, not a link


def test_a_name_that_is_not_utf8_is_named_and_set_aside(tmp_path):
    root = tmp_path / "caf\udce9"  # bytes as Python keeps them
    (root / "b\udcff").mkdir(parents=True)
    for name in ("a", "b", "c"):
        write_pair(tmp_path, name)
    for source in [*tmp_path.glob("*.mid"), *tmp_path.glob("*.wav")]:
        for name in (source.stem, "l\udce9", "b\udcff/l"):
            shutil.copy(source, root / f"{name}{source.suffix}")
    manifest = bring(dataset(name="folder", root=str(root)), tmp_path / "raw", QUIET)
    assert [p.title for p in manifest.performances] == ["a", "b", "c"]
    assert read_manifest(tmp_path / "raw") == manifest
    reason = "the name is not UTF-8: rename the file or folder"
    assert {item.name: item.reason for item in manifest.set_aside} == {r"l\xe9": reason, r"b\xff/l": reason}


def test_midi_files_with_such_names_are_set_aside_as_well(tmp_path):
    write_pair(tmp_path, "a")
    shutil.copy(tmp_path / "a.mid", tmp_path / "caf\udce9.mid")
    jobs, set_aside = midi_jobs(tmp_path, tmp_path / "raw", 0.1, 0.1, 0)
    assert [job.title for job in jobs] == ["a"]
    assert [item.name for item in set_aside] == [r"caf\xe9"]


def test_a_flac_cut_short_is_set_aside(tmp_path):
    for name in ("a", "b"):
        write_pair(tmp_path, name, suffix=".flac", seconds=20)
    whole = (tmp_path / "b.flac").read_bytes()
    (tmp_path / "b.flac").write_bytes(whole[: len(whole) // 2])
    pairs, set_aside = find_pairs(tmp_path, progress=False)
    assert [pair.title for pair in pairs] == ["a"]
    assert [item.name for item in set_aside] == ["b"]


def test_a_format_that_cannot_be_read_is_named(tmp_path):
    write_pair(tmp_path, "a")
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    write_pair(tmp_path, "b")
    (tmp_path / "b.wav").rename(tmp_path / "b.M4A")
    (tmp_path / "film.mp4").write_bytes(b"")
    pairs, set_aside = find_pairs(tmp_path, progress=False)
    assert [pair.title for pair in pairs] == ["a"]
    assert [(item.name, item.reason) for item in set_aside] == [
        ("b", "b.M4A: m4a cannot be read, convert it to WAV or FLAC")
    ]


def test_an_mp3_cut_short_is_set_aside_and_not_filled_with_what_came_before(tmp_path):
    write_pair(tmp_path, "a", suffix=".mp3", rate=44100, seconds=20)
    whole = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(whole[: len(whole) // 2])
    pairs, set_aside = find_pairs(tmp_path, progress=False)
    assert pairs == []
    assert "a.mp3 is cut short" in set_aside[0].reason


def test_clipped_audio_is_used_and_reported(tmp_path):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "loud")
    wave = np.clip(2 * np.sin(np.arange(2000) / 20), -1, 1)
    soundfile.write(tmp_path / "loud.wav", wave, 22050)
    pairs, _ = find_pairs(tmp_path, progress=False)
    assert pairs[0].clipped == 0
    full = np.abs(wave) >= 1
    assert pairs[1].clipped == (full[1:] & full[:-1]).sum() > 1000


def test_a_normalised_peak_is_not_clipping():
    samples = np.array([0.1, 1.0, 0.2, -1.0, -1.0, -1.0, 0.0], dtype=np.float32)
    assert clipped(samples) == 2
    assert clipped(np.stack([samples, 0 * samples], axis=1)) == 2


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (None, "needs dataset.root"),
        ("nowhere", "is not a folder"),
        (".", r"no usable pair of MIDI and audio \(lonely: no MIDI .*`diffsynth transcribe`"),
    ],
)
def test_a_folder_without_anything_usable(tmp_path, monkeypatch, root, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lonely.wav").write_bytes(b"")
    with pytest.raises(UserError, match=message):
        bring(dataset(name="folder", root=root), tmp_path / "raw", QUIET)
    assert not (tmp_path / "raw").exists()


def test_files_of_others_are_never_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="holds other files"):
        bring(dataset(name="demo"), tmp_path)
    music = tmp_path / "raw" / "music"
    music.mkdir(parents=True)
    write_pair(music, "a")
    with pytest.raises(UserError, match="which would be replaced"):
        bring(dataset(name="folder", root=str(music)), tmp_path / "raw", QUIET)
    with pytest.raises(UserError, match="is a file"):
        bring(dataset(name="demo"), tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "precious"
    assert (music / "a.wav").is_file()


def test_what_was_brought_before_is_not_taken_for_the_users_own(tmp_path):
    for name in "abc":
        write_pair(tmp_path, name)
    for _ in range(2):
        manifest = bring(dataset(name="folder", root=str(tmp_path)), tmp_path / "raw", QUIET)
        assert [p.name for p in manifest.performances] == ["a", "b", "c"]
