"""The align stage on a folder made of good and bad pairs."""

import csv
import json
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.displaced import CONFIG, FORMAT, RATE, add, entry, performance

from diffsynth.alignment.line_fit import Alignment
from diffsynth.alignment.performances import Entry, align_all, correct, trim, within
from diffsynth.alignment.report import write_report
from diffsynth.audio.files import read_audio, resample
from diffsynth.audio.levels import LEAD, Levels
from diffsynth.datasets.manifest import Manifest, write_manifest
from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events
from diffsynth.midi.files import read_midi
from diffsynth.runs.files import read_json, sha256
from pipeline.app import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    """Folder in which good and bad pairs lie under raw and the result under out and report."""
    folder = tmp_path_factory.mktemp("aligning")
    raw = folder / "raw"
    raw.mkdir()
    pairs = [
        add(raw, "exact"),
        add(raw, "late", -0.75),
        add(raw, "wrong", source="music_3", audio_of="music_12"),
    ]
    pairs += [add(raw, name) for name in ("torn", "text", "nan")]
    (raw / "torn.flac").write_bytes((raw / "torn.flac").read_bytes()[:100])
    (raw / "text.mid").write_text("do re mi")
    soundfile.write(raw / "nan.wav", np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    pairs += [entry(raw, "missing"), add(raw, "stereo")]
    stereo = resample(performance("music_12")[1][: 12 * RATE], RATE, 37123)
    soundfile.write(raw / "stereo.wav", np.stack([stereo, stereo / 2], axis=1), 37123)
    pairs = [entry(raw, p.name, "wav") if p.name in ("nan", "stereo") else p for p in pairs]
    write_manifest(raw, Manifest("folder", sorted(pairs, key=lambda p: p.name), []))
    write_report(align_all(raw, folder / "out", FORMAT, CONFIG), folder / "report")
    return folder


def by_name(folder):
    index = read_json(folder / "out" / "index.json")
    assert index["dataset"] == read_json(folder / "raw" / "manifest.json")["dataset"]
    assert index["sample_rate"] == RATE
    return {row["name"]: row for row in index["performances"]}


def test_bad_pairs_are_set_aside_with_the_reason(aligned):
    rows = by_name(aligned)
    reasons = {
        "wrong": "of the notes are heard in the audio",
        "torn": "torn.flac",
        "text": "text.mid is not a readable MIDI file",
        "nan": "not numbers",
        "missing": "missing.mid does not exist",
    }
    assert {name for name, row in rows.items() if row["status"] == "rejected"} == set(reasons)
    for name, reason in reasons.items():
        assert reason in rows[name]["reason"]
    files = {path.name for path in (aligned / "out").iterdir()}
    good = ("exact", "late", "stereo")
    assert files == {"index.json"} | {f"{name}.{kind}" for name in good for kind in ("npy", "flac")}


def test_exact_data_stay_exact(aligned):
    row = by_name(aligned)["exact"]
    assert not row["corrected"]
    assert abs(row["offset"]) < 1.5e-3
    events = np.load(aligned / "out" / "exact.npy", allow_pickle=False)
    assert events.tolist() == read_midi(aligned / "raw" / "exact.mid").tolist()
    audio, _ = read_audio(aligned / "out" / "exact.flac")
    assert (audio == read_audio(aligned / "raw" / "exact.flac")[0]).all()


def test_events_move_to_the_audio_and_the_audio_keeps_its_samples(aligned):
    row = by_name(aligned)["late"]
    assert row["corrected"]
    assert row["offset"] == pytest.approx(-0.75, abs=2e-3)
    events = np.load(aligned / "out" / "late.npy", allow_pickle=False)
    audio, _ = read_audio(aligned / "out" / "late.flac")
    raw, _ = read_audio(aligned / "raw" / "late.flac")
    skipped = len(raw) - len(audio)
    assert (audio == raw[skipped:]).all()
    wanted = read_midi(aligned / "raw" / "late.mid")
    assert events["time"] + skipped / RATE == pytest.approx(wanted["time"] - 0.75, abs=2e-3)
    assert events[["kind", "number", "value"]].tolist() == wanted[["kind", "number", "value"]].tolist()
    assert row["duration"] == pytest.approx(len(audio) / RATE)


def test_stereo_at_an_odd_rate_is_brought_to_the_format(aligned):
    audio, rate = read_audio(aligned / "out" / "stereo.flac")
    assert rate == RATE
    assert audio == pytest.approx(0.75 * performance("music_12")[1][: 12 * RATE], abs=2e-2)


def test_the_report_is_the_index_as_a_table(aligned):
    with (aligned / "report" / "report.csv").open(encoding="utf8", newline="") as file:
        table = list(csv.DictReader(file))
    rows = read_json(aligned / "out" / "index.json")["performances"]
    text = [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]
    assert table == text
    assert (aligned / "report" / "report.png").read_bytes().startswith(b"\x89PNG")


def test_names_in_any_script_are_drawn(aligned, tmp_path):
    entries = [replace(Entry(**row), name="夜想曲") for row in by_name(aligned).values()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(entries, tmp_path)
    assert "夜想曲" in (tmp_path / "report.csv").read_text(encoding="utf8")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_results_do_not_depend_on_the_number_of_processes(aligned, tmp_path):
    align_all(aligned / "raw", tmp_path / "out", FORMAT, CONFIG, workers=2)
    names = sorted(path.name for path in (aligned / "out").iterdir())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    for name in names:
        assert sha256(tmp_path / "out" / name) == sha256(aligned / "out" / name)


def test_nothing_usable_leaves_nothing(tmp_path):
    (tmp_path / "raw").mkdir()
    write_manifest(tmp_path / "raw", Manifest("folder", [], []))
    with pytest.raises(UserError, match="lists no performances"):
        align_all(tmp_path / "raw", tmp_path / "out", FORMAT, CONFIG)
    write_manifest(tmp_path / "raw", Manifest("folder", [entry(tmp_path, "missing")], []))
    with pytest.raises(UserError, match=r"no performance could be aligned.*missing\.mid does not exist"):
        align_all(tmp_path / "raw", tmp_path / "out", FORMAT, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_notes_outside_a_recording_are_left_out_with_their_releases():
    kept = [(0.2, NOTE_ON, 60, 64), (0.6, NOTE_OFF, 60, 0), (0.9, NOTE_ON, 62, 64), (1.2, NOTE_OFF, 62, 0)]
    before = [(-1.5, CONTROL, SUSTAIN, 127), (-1.0, NOTE_ON, 60, 64), (0.1, NOTE_OFF, 60, 0)]
    after = [(1.0, NOTE_ON, 60, 64), (1.1, CONTROL, SUSTAIN, 0), (1.3, NOTE_OFF, 60, 0)]
    found = within(make_events([*before, *kept, *after]), 1.0)
    assert found.tolist() == make_events([(0.0, CONTROL, SUSTAIN, 127), *kept]).tolist()
    assert within(make_events(kept), 1.0).tolist() == make_events(kept).tolist()


def line(offset):
    return Alignment(offset, 0.0, 1.0, 0.0, 1.0)


SILENCE = Levels(np.full(30, 1e-12), np.full(30, 1e-6))


@pytest.mark.parametrize(
    ("offset", "times", "cut"),
    [
        # The first onset is at 1.2 s of the audio; LEAD stays before it.
        (0.2, [LEAD, LEAD + 0.5, LEAD + 2.0], round((1.2 - LEAD) * 1000)),
        # It is 0.25 s before the audio begins: silence is put there.
        (-1.25, [0.0, 0.5, 2.0], -250),
        # It is in the audio, with less than LEAD before it: nothing to do but move.
        (-0.9, [0.1, 0.6, 2.1], 0),
    ],
)
def test_a_late_beginning_is_cut_and_a_missing_one_filled_with_silence(offset, times, cut):
    events = make_events([(1.0, NOTE_ON, 60, 64), (1.5, NOTE_OFF, 60, 0), (3.0, CONTROL, SUSTAIN, 0)])
    audio = np.arange(1, 3001, dtype=np.float32)
    moved, kept = trim(correct(events, line(offset)), audio, 1000, SILENCE)
    assert moved["time"].tolist() == pytest.approx(times)
    assert kept[:].tolist() == [0.0] * max(-cut, 0) + audio[max(cut, 0) :].tolist()


def test_the_command(aligned, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    params = ["--params", str(ROOT / "params.yaml"), "--workers", "1"]
    assert run(["align", *params]) == 2
    assert (
        capsys.readouterr().err
        == "diffsynth: data/raw/manifest.json does not exist; run `diffsynth download` first\n"
    )
    pairs = [asdict(entry(aligned, name)) for name in ("late", "wrong")]
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    for pair in pairs:
        for kind in ("midi", "audio"):
            (raw / pair[kind]).write_bytes((aligned / "raw" / pair[kind]).read_bytes())
    (raw / "manifest.json").write_text(
        json.dumps({"dataset": "folder", "performances": pairs, "set_aside": []}), encoding="utf8"
    )
    assert run(["align", *params]) == 0
    captured = capsys.readouterr()
    assert "rejected: wrong: " in captured.err
    assert "data/aligned: 1 performances, 0.2 min, 1 rejected" in captured.out
    assert read_json("data/aligned/index.json")["performances"][0] == by_name(aligned)["late"]
    assert Path("results/align/report.csv").is_file()
