import dataclasses
import json
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from test_soundfont import SOUNDFONT, needs_fluidsynth

from diffsynth.audio import read_audio
from diffsynth.config import load_params
from diffsynth.data.demo import LICENSE, demo_jobs
from diffsynth.data.folder import find_pairs
from diffsynth.data.manifest import clipped, read_manifest, verify
from diffsynth.data.soundfont import render_soundfont, snap
from diffsynth.data.sources import bring, generated_jobs
from diffsynth.data.splits import assign_splits, safe_names
from diffsynth.errors import UserError
from diffsynth.events import CONTROL, NOTE_ON, make_events, to_notes
from diffsynth.files import sha256
from diffsynth.midi import read_midi, write_midi
from pipeline.app import main

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "data" / "demo"
DATASET = load_params(ROOT / "params.yaml").dataset


def dataset(**changes):
    return dataclasses.replace(DATASET, **changes)


def write_pair(folder, name, suffix=".wav", rate=22050, seconds=1.0, **options):
    path = folder / f"{name}.mid"
    write_midi(path, make_events([(0.1, NOTE_ON, 60, 80), (0.5, 0, 60, 0)]))
    tone = 0.5 * np.sin(np.arange(int(seconds * rate)) / 10)
    soundfile.write(path.with_suffix(suffix), tone, rate, **options)


# demo


def test_the_committed_demo_is_what_its_manifest_says():
    manifest = read_manifest(DEMO)
    verify(DEMO, manifest)
    seconds = Counter()
    for p in manifest.performances:
        seconds[p.split] += p.duration
        assert p.clipped == 0
        assert soundfile.info(DEMO / p.audio).samplerate == 24000
        assert soundfile.info(DEMO / p.audio).channels == 1
    assert sum(seconds.values()) > 600
    assert 50 < seconds["validation"] < 90
    assert 70 < seconds["test"] < 95
    listed = {p.midi for p in manifest.performances} | {p.audio for p in manifest.performances}
    assert {file.name for file in DEMO.iterdir()} == listed | {"manifest.json", "LICENSE.md"}
    assert sum(file.stat().st_size for file in DEMO.iterdir()) < 20e6
    assert (DEMO / "LICENSE.md").read_text(encoding="utf8") == LICENSE
    assert "Copyright © 2000-2002, 2008 Frank Wen" in LICENSE


def test_the_demo_midi_is_what_the_generator_and_the_scores_give_now():
    jobs = demo_jobs()
    manifest = read_manifest(DEMO)
    assert [(j.name, j.split, j.title) for j in jobs] == [
        (p.name, p.split, p.title) for p in manifest.performances
    ]
    for job in jobs:
        expected, committed = snap(job.events), read_midi(DEMO / f"{job.name}.mid")
        assert len(committed) == len(expected)
        np.testing.assert_allclose(committed["time"], expected["time"], atol=1e-9)


def test_the_demo_covers_the_keyboard_the_velocities_and_the_pedals_in_training():
    train = [read_midi(DEMO / p.midi) for p in read_manifest(DEMO).performances if p.split == "train"]
    notes = np.concatenate([to_notes(events) for events in train])
    assert set(notes["key"].tolist()) == set(range(21, 109))
    assert set(notes["velocity"].tolist()) == set(range(15, 121))
    controls = np.concatenate([events[events["kind"] == CONTROL] for events in train])
    assert set(controls["number"].tolist()) == {64, 66, 67}


def test_audio_of_the_demo_starts_with_its_first_note():
    for p in read_manifest(DEMO).performances:
        onset = to_notes(read_midi(DEMO / p.midi))["onset"][0]
        samples, rate = soundfile.read(DEMO / p.audio)
        first = np.flatnonzero(np.abs(samples) > 1.5 / 32768)[0] / rate
        assert -0.001 < first - onset < 0.012  # a hammer takes its time in the recordings


def test_bring_demo_copies_it_with_its_licence(tmp_path):
    manifest = bring(dataset(name="demo"), tmp_path / "raw", DEMO)
    assert manifest == read_manifest(tmp_path / "raw")
    verify(tmp_path / "raw", manifest)
    assert (tmp_path / "raw" / "LICENSE.md").is_file()
    bring(dataset(name="demo"), tmp_path / "raw", DEMO)  # over itself
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("damage", ["missing", "changed", "duration"])
def test_a_damaged_demo_is_refused_and_leaves_nothing(tmp_path, damage):
    demo, name = tmp_path / "demo", "satie_gymnopedie_1"
    shutil.copytree(DEMO, demo)
    if damage == "missing":
        (demo / f"{name}.mid").unlink()
    elif damage == "changed":
        with open(demo / f"{name}.flac", "r+b") as file:
            file.seek(20000)
            file.write(b"\x00\x01\x02")
    else:
        tree = json.loads((demo / "manifest.json").read_text())
        tree["performances"][0]["duration"] += 1
        (demo / "manifest.json").write_text(json.dumps(tree))
    problem = {"missing": "is missing", "changed": "damaged or changed", "duration": "does not last"}[damage]
    with pytest.raises(UserError, match=problem):
        bring(dataset(name="demo"), tmp_path / "raw", demo)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


# folder


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
    manifest = bring(dataset(name="folder", root=str(root)), tmp_path / "raw", progress=False)

    assert {p.title: p.name for p in manifest.performances} == {
        "STEREO": "STEREO",
        "one": "one",
        "two words. no. 2": "two_words_no_2",
        "Été/夜想曲": "Été_夜想曲",
    }
    reasons = {item.name: item.reason for item in manifest.set_aside}
    expected = {
        "lonely midi": "no audio file",
        "lonely audio": "no MIDI file",
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


def test_a_flac_cut_short_is_set_aside(tmp_path):
    for name in ("a", "b"):
        write_pair(tmp_path, name, suffix=".flac", seconds=20)
    whole = (tmp_path / "b.flac").read_bytes()
    (tmp_path / "b.flac").write_bytes(whole[: len(whole) // 2])
    pairs, set_aside = find_pairs(tmp_path, progress=False)
    assert [pair.title for pair in pairs] == ["a"]
    assert [item.name for item in set_aside] == ["b"]


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
    [(None, "needs dataset.root"), ("nowhere", "is not a folder"), (".", "no usable pair of MIDI and audio")],
)
def test_a_folder_without_anything_usable(tmp_path, monkeypatch, root, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lonely.wav").write_bytes(b"")
    with pytest.raises(UserError, match=message):
        bring(dataset(name="folder", root=root), tmp_path / "raw", progress=False)
    assert not (tmp_path / "raw").exists()


def test_files_of_others_are_never_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="holds other files"):
        bring(dataset(name="demo"), tmp_path, DEMO)
    music = tmp_path / "raw" / "music"
    music.mkdir(parents=True)
    write_pair(music, "a")
    with pytest.raises(UserError, match="which would be replaced"):
        bring(dataset(name="folder", root=str(music)), tmp_path / "raw", progress=False)
    with pytest.raises(UserError, match="is a file"):
        bring(dataset(name="demo"), tmp_path / "mine.txt", DEMO)
    assert (tmp_path / "mine.txt").read_text() == "precious"
    assert (music / "a.wav").is_file()


def test_what_was_brought_before_is_not_taken_for_the_users_own(tmp_path):
    for name in "abc":
        write_pair(tmp_path, name)
    for _ in range(2):
        manifest = bring(dataset(name="folder", root=str(tmp_path)), tmp_path / "raw", progress=False)
        assert [p.name for p in manifest.performances] == ["a", "b", "c"]


# splits and names

titles = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=40)


@given(titles, st.integers(0, 9))
def test_three_performances_fill_every_split(names, seed):
    splits = assign_splits(names, 0.1, 0.1, seed)
    assert len(splits) == len(names)
    assert set(splits) == set(("train", "validation", "test")[: len(names)])


def test_shares_are_kept_and_adding_performances_moves_none():
    names = [f"piece {i}" for i in range(3000)]
    before = assign_splits(names[:1000], 0.1, 0.2, 7)
    after = assign_splits(names, 0.1, 0.2, 7)
    assert after[:1000] == before
    count = Counter(after)
    assert abs(count["validation"] - 300) < 60
    assert abs(count["test"] - 600) < 80
    assert assign_splits(names, 0.1, 0.2, 8) != after


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.1), (0.1, 1.0)])
def test_shares_that_leave_no_training(shares):
    with pytest.raises(UserError, match="shares"):
        assign_splits(["a", "b", "c"], *shares, 0)


@given(st.lists(st.text(min_size=1, max_size=200), unique=True, max_size=20))
def test_names_are_distinct_short_and_without_dots_or_slashes(names):
    safe = safe_names(names)
    for name in safe:
        assert name
        assert len(name.encode()) <= 130
        assert not set(name) & set("./\\ \0:*?")


def test_names_that_would_collide_are_told_apart():
    first, second, third = safe_names(["a b", "a_b", "c.d/e"])
    assert first != second
    assert first.startswith("a_b_")
    assert second.startswith("a_b_")
    assert third == "c_d_e"


# rendered


@needs_fluidsynth
def test_the_generator_is_rendered_to_the_length_asked_for(tmp_path):
    asked = dataset(name="rendered", minutes=0.6, seed=4, soundfont=str(SOUNDFONT), workers=1)
    manifest = bring(asked, tmp_path / "raw", progress=False)
    assert {p.split for p in manifest.performances} == {"train", "validation", "test"}
    assert sum(p.duration for p in manifest.performances) / 60 == pytest.approx(0.6, abs=0.05)
    verify(tmp_path / "raw", manifest)
    assert bring(asked, tmp_path / "raw", progress=False) == manifest


def test_more_minutes_add_performances_and_change_none():
    short = {job.name: job for job in generated_jobs(dataset(minutes=12))}
    long = {job.name: job for job in generated_jobs(dataset(minutes=20))}
    assert {"keys_000", "music_00000"} < set(short)
    assert short.keys() < long.keys()
    for name, job in short.items():
        assert np.array_equal(job.events, long[name].events)
    seconds = sum(float(job.events["time"].max()) + 2 for job in long.values())
    assert seconds / 60 == pytest.approx(20, abs=1.5)


@needs_fluidsynth
def test_midi_files_are_rendered_with_exact_labels(tmp_path):
    root = tmp_path / "midi"
    (root / "deep").mkdir(parents=True)
    for name, key in (("a", 60), ("deep/b c", 64), ("d", 67)):
        write_midi(root / f"{name}.mid", make_events([(0.1234567, NOTE_ON, key, 80), (0.5, 0, key, 0)]))
    (root / "broken.midi").write_bytes(b"MThd")
    asked = dataset(name="rendered", root=str(root), soundfont=str(SOUNDFONT), workers=1)
    manifest = bring(asked, tmp_path / "raw", progress=False)
    assert [p.name for p in manifest.performances] == ["a", "d", "deep_b_c"]
    assert [item.name for item in manifest.set_aside] == ["broken"]
    onset = to_notes(read_midi(tmp_path / "raw" / "a.mid"))["onset"][0]
    samples, rate = soundfile.read(tmp_path / "raw" / "a.flac")
    assert onset == pytest.approx(93 * 64 / 48000, abs=1e-9)  # 0.1234567 s is 92.6 ticks
    assert np.flatnonzero(samples)[0] / rate == pytest.approx(onset, abs=0.001)


@pytest.mark.parametrize("minutes", [0, -1, 0.4])
def test_too_few_minutes(minutes):
    with pytest.raises(UserError, match=r"at least 0\.5"):
        generated_jobs(dataset(minutes=minutes))


@needs_fluidsynth
def test_a_missing_soundfont_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="does not exist: apt install"):
        bring(dataset(name="rendered", soundfont=str(tmp_path / "x.sf2")), tmp_path / "raw")
    assert list(tmp_path.iterdir()) == []


# the command


def command(*arguments):
    with pytest.raises(SystemExit) as end:
        main(["download", *map(str, arguments)])
    return end.value.code


def test_download_says_what_it_brought_and_what_it_set_aside(tmp_path, capsys):
    root, out = tmp_path / "music", tmp_path / "raw"
    root.mkdir()
    for name in "abc":
        write_pair(root, name, seconds=20)
    soundfile.write(root / "c.wav", np.ones(22050 * 20), 22050)
    (root / "d.mid").write_text("no MIDI")
    options = ("--params", ROOT / "params.yaml", "--name", "folder", "--root", root, "--out", out)
    assert command(*options) == 0
    shown = capsys.readouterr()
    assert "folder, 3 performances, 1.0 min (1 train, 1 validation, 1 test), 1 set aside" in shown.out
    assert "set aside: d: no audio file of this name" in shown.err
    assert "clipped: c: 440999 samples" in shown.err
    assert len(read_manifest(out).performances) == 3


@needs_fluidsynth
def test_download_renders_with_the_program_asked_for(tmp_path, capsys):
    asked = ("--params", ROOT / "params.yaml", "--name", "rendered", "--minutes", "0.5", "--workers", "1")
    assert (
        command(*asked, "--soundfont", SOUNDFONT, "--out", tmp_path / "a", "--program", "6", "--gain", "0.3")
        == 0
    )
    assert command(*asked, "--soundfont", SOUNDFONT, "--out", tmp_path / "b", "--program", "200") == 2
    assert "has no program 200" in capsys.readouterr().err
    performance = read_manifest(tmp_path / "a").performances[0]
    samples, rate = read_audio(tmp_path / "a" / performance.audio)
    events = read_midi(tmp_path / "a" / performance.midi)
    expected = render_soundfont(events, SOUNDFONT, rate, program=6, gain=0.3)
    np.testing.assert_allclose(samples, expected, atol=1 / 32768)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "spotify"), "unknown dataset 'spotify'"),
        (("--name", "folder"), "needs dataset.root"),
        (("--name", "rendered", "--minutes", "0.1"), "at least 0.5"),
    ],
)
def test_download_refuses_wrong_input_in_one_line(tmp_path, capsys, options, message):
    out = tmp_path / "raw"
    assert command("--params", ROOT / "params.yaml", "--out", out, *options) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not out.exists()
