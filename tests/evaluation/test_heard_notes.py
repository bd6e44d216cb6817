"""What Transkun hears, and that its scores come where they belong."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from diffsynth.audio.files import read_audio, write_audio
from diffsynth.evaluation.evaluating import evaluate_recording, evaluate_renders
from diffsynth.evaluation.heard_notes import listen
from diffsynth.evaluation.notes import SCORES
from diffsynth.evaluation.pair import Pair
from diffsynth.evaluation.registry import absent
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events
from diffsynth.midi.files import read_midi, write_midi
from diffsynth.runs.files import write_json
from diffsynth.transcription import transkun
from pipeline.params import load_params

DEMO = Path(__file__).parents[2] / "data" / "demo"
RATE = 24000
CONFIG = load_params().evaluate
PLAYED = make_events(
    [
        *((0.5, NOTE_ON, 60, 64), (1.0, NOTE_OFF, 60, 0)),
        *((6.0, NOTE_ON, 64, 64), (6.5, NOTE_OFF, 64, 0)),
    ]
)
HALF = PLAYED[:2]  # the first of the two notes: F1 is 2/3, by segments 1 and 0


@pytest.mark.filterwarnings("error")
def test_a_recording_is_heard_as_it_was_played(capsys):
    pytest.importorskip("transkun")
    import torch

    audio, rate = read_audio(DEMO / "beethoven_fuer_elise.flac")
    audio = audio[: 6 * rate]
    events = read_midi(DEMO / "beethoven_fuer_elise.mid")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    transcribe = transkun.Transkun(hop=16.0)
    heard = transcribe(audio, rate)
    assert torch.equal(torch.get_rng_state(), before)
    assert capsys.readouterr() == ("", "")
    assert {SUSTAIN} == set(heard["number"][heard["kind"] == CONTROL].tolist())
    pair = Pair(audio, audio, rate, CONFIG)
    listen(pair, events, lambda *_: heard)
    found = [pair.notes.f1(name) for name in SCORES]
    assert found[0] > 0.95
    assert found[0] >= found[1] >= found[2] > 0.0
    events["number"] += events["kind"] != CONTROL
    listen(pair, events, lambda *_: heard)
    assert pair.notes.f1("note_f1") < 0.1  # a semitone up


def test_without_the_package_the_command_that_installs_it_is_named(refuse, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transkun", None)
    for name in ("a", "b"):
        write_audio(tmp_path / f"{name}.wav", np.full(RATE, 0.1, "f4"), RATE)
    write_midi(tmp_path / "a.mid", PLAYED)
    pair = ("--target", "a.wav", "--prediction", "b.wav", "--midi", "a.mid")
    assert refuse("evaluate", *pair, "--transcribe") == (
        "transcription needs Transkun: pip install 'diffsynth-piano[transcription]'"
    )
    assert refuse("evaluate", *pair) == "with --target, --transcribe and --midi go together"
    assert "Note" not in absent()  # only what is measured by default


@pytest.fixture
def folders(tmp_path):
    """One test performance of noise, its events and its render."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(10 * RATE).astype("f4")
    performance = {"name": "a", "split": "test", "status": "ok"}
    write_json(tmp_path / "aligned/index.json", {"sample_rate": RATE, "performances": [performance]})
    np.save(tmp_path / "aligned/a.npy", PLAYED)
    for path in ("aligned/a.flac", "renders/512/lstm/a.wav"):
        write_audio(tmp_path / path, noise, RATE)
    return tmp_path


@pytest.mark.usefixtures("without_extras")
def test_reports_of_renders_and_segments_have_the_scores_that_are_asked_for(folders):
    aligned, renders = folders / "aligned", folders / "renders/512/lstm"
    places = folders / "lstm.json", folders / "figures"
    report = evaluate_renders(aligned, renders, "lstm", 512, CONFIG, *places)
    assert not set(report["metrics"]) & set(SCORES)
    report = evaluate_renders(aligned, renders, "lstm", 512, CONFIG, *places, lambda *_: HALF)
    assert [report["metrics"][name] for name in SCORES] == [0.66667] * 3
    segments = json.loads((folders / "figures/segments.json").read_text())["performances"]["a"]
    assert [segments[name] for name in SCORES] == [[1.0, 0.0]] * 3
    own = evaluate_recording(aligned, CONFIG, folders / "recording.json", lambda *_: PLAYED)
    assert [own["metrics"][name] for name in SCORES] == [1.0] * 3


@pytest.mark.usefixtures("without_extras")
def test_a_pair_is_printed_with_the_recordings_own_scores(folders, project, monkeypatch, capsys):
    heard = iter([HALF, PLAYED])  # in the prediction and in the target
    monkeypatch.setattr(transkun, "Transkun", lambda: lambda *_: next(heard))
    write_midi(folders / "a.mid", PLAYED)
    pair = ("--target", "aligned/a.flac", "--prediction", "renders/512/lstm/a.wav")
    options = ("--midi", "a.mid", "--transcribe", "--json")
    assert project.run("evaluate", *pair, *options, folder=folders) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["note_f1"] == pytest.approx(2 / 3, abs=1e-4)
    assert printed["note_velocity_f1/recording"] == 1.0


@pytest.mark.usefixtures("without_extras")
def test_bounds_score_notes_too(project, tmp_path, monkeypatch):
    monkeypatch.setattr(transkun, "Transkun", lambda: lambda *_: HALF)
    places = ("--aligned", project.data / "aligned", "--fit", project.data / "fit" / "piano.safetensors")
    assert project.run("bounds", *places, "--transcribe", folder=tmp_path) == 0
    for name in ("another_piano", "excitation", "ideal_gains", "recording", "low_pass"):
        report = json.loads((tmp_path / f"results/metrics/bounds/{name}.json").read_text())
        assert 0.0 <= report["metrics"]["note_f1"] < 0.3  # of other notes
