"""`fit`, `features`, `train`, `infer` and `render` on a small part of the demo, from end to end."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

import numpy as np
import pytest
import soundfile
import torch
from mlflow import MlflowClient
from safetensors import safe_open

import pipeline.training
from diffsynth.audio import read_audio
from diffsynth.events import to_notes
from diffsynth.excitation.piano import load_piano
from diffsynth.featureset import load_features
from diffsynth.files import read_json, sha256
from diffsynth.midi import read_midi, write_midi
from diffsynth.synthesizer import Synthesizer, render
from diffsynth.weights import load_voice, read_card
from tests.conftest import ROOT

RATE = 24000
CELL = ["--model", "lstm", "--block", 1024]


def files(folder):
    """Everything below a folder, with its contents."""
    return {path.relative_to(folder): path.is_file() and sha256(path) for path in folder.rglob("*")}


@pytest.fixture
def refuse(project, tmp_path, capsys):
    """Runs a command in `tmp_path` that must be refused: exit code 2, one line, nothing left behind."""
    if not (tmp_path / "params.yaml").exists():
        (tmp_path / "params.yaml").write_bytes((project.folder / "params.yaml").read_bytes())

    def refuse(*arguments):
        before = files(tmp_path)
        assert project.run(*arguments, folder=tmp_path) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("diffsynth: ")
        assert output.err.count("\n") == 1
        assert files(tmp_path) == before
        return output.err.removeprefix("diffsynth: ").rstrip("\n")

    return refuse


@pytest.fixture(scope="module")
def trained(project, tmp_path_factory):
    """A folder in which both models are trained at one block size, and the test performance rendered."""
    folder = tmp_path_factory.mktemp("trained")
    for model in ("lstm", "s6"):
        cell = ["--model", model, "--block", 1024]
        assert project.run("train", *cell, "--data-dir", project.data, folder=folder) == 0
        assert project.run("infer", *cell, "--aligned", project.data / "aligned", folder=folder) == 0
    return folder


def weights_of(folder, model="lstm", block=1024):
    return folder / "models" / str(block) / f"{model}.safetensors"


def test_the_fit_has_a_voice_for_every_key_and_tunes_those_it_heard(project):
    piano = load_piano(project.data / "fit" / "piano.safetensors")
    assert set(piano.key) == set(range(88))
    assert piano.frequency.max() < 10500
    heard = [np.load(project.data / "aligned" / f"{name}.npy") for name in ("bach_prelude_c", "music_10")]
    notes = to_notes(np.concatenate(heard))["key"]
    for key in np.flatnonzero(np.bincount(notes) >= 3):
        partials = piano.frequency[piano.key == key - 21]
        cents = 1200 * np.log2(partials / (440 * 2 ** ((key - 69) / 12)))
        assert np.abs(cents).min() < 10


def test_features_are_those_of_the_shards(project):
    index = read_json(project.data / "shards" / "index.json")["splits"]
    for split in ("train", "validation"):
        features = load_features(project.data / "features" / f"{split}.safetensors")
        assert features.gains.shape == (index[split]["samples"], 750, 20)
        assert (features.weight.float().sum((1, 2)) > 0).all()
    assert features.gains.float().abs().max() <= 2.301  # 20 dB, in half precision


def test_training_writes_a_voice_that_says_where_it_comes_from(project, trained):
    for model in ("lstm", "s6"):
        path = weights_of(trained, model)
        voice, card = load_voice(path), read_card(path)
        assert (voice.config.model, voice.config.block, voice.config.frames) == (model, 1024, 8)
        assert voice.config.network.units == 12
        normaliser = load_features(project.data / "features" / "train.safetensors").normaliser()
        np.testing.assert_array_equal(voice.normaliser.scale, normaliser.scale)
        assert card["data"] == {
            "train.safetensors": sha256(project.data / "features" / "train.safetensors"),
            "validation.safetensors": sha256(project.data / "features" / "validation.safetensors"),
            "piano.safetensors": sha256(project.data / "fit" / "piano.safetensors"),
            "index.json": sha256(project.data / "shards" / "index.json"),
        }
        assert card["train"]["steps"] == 8
        with (trained / "results" / "train" / "1024" / model / "loss.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["step"] for row in rows] == ["4", "8"]
        assert {name: f"{value:.6g}" for name, value in card["validation"].items()} == rows[-1]
        assert float(rows[-1]["streamed_lsd"]) > 0
        assert not list((trained / "checkpoints").rglob("*.safetensors"))


@pytest.mark.parametrize("model", ["lstm", "s6"])
def test_two_runs_from_scratch_are_the_same_bytes(project, trained, tmp_path, model):
    cell = ["--model", model, "--block", 1024]
    assert project.run("train", *cell, "--data-dir", project.data, folder=tmp_path) == 0
    assert weights_of(tmp_path, model).read_bytes() == weights_of(trained, model).read_bytes()
    curve = os.path.join("results", "train", "1024", model, "loss.csv")
    assert (tmp_path / curve).read_bytes() == (trained / curve).read_bytes()


@pytest.mark.parametrize("model", ["lstm", "s6"])
def test_infer_renders_the_test_split_through_the_engine(project, trained, model):
    folder = trained / "results" / "renders" / "1024" / model
    assert sorted(path.name for path in folder.iterdir()) == ["music_12.wav", "timings.json"]
    audio, rate = read_audio(folder / "music_12.wav")
    assert (len(audio), rate) == (5 * RATE, RATE)
    assert soundfile.info(folder / "music_12.wav").subtype == "PCM_16"
    events = np.load(project.data / "aligned" / "music_12.npy")
    expected = render(Synthesizer(load_voice(weights_of(trained, model))), events)[: 5 * RATE]
    np.testing.assert_allclose(audio, expected.clip(-1, 1), atol=1.01 / 32768)
    timings = read_json(folder / "timings.json")
    assert timings.keys() == {"rtf", "p50_ms", "p99_ms", "block", "model", "sample_rate", "seconds"}
    assert (timings["block"], timings["model"], timings["sample_rate"]) == (1024, model, RATE)
    assert timings["seconds"] == pytest.approx(-(-5 * RATE // 1024) * 1024 / RATE, abs=1e-3)
    assert 0 < timings["p50_ms"] <= timings["p99_ms"]
    # Mean and median time of a block are not far apart.
    assert timings["rtf"] * 1024 / RATE * 1000 == pytest.approx(timings["p50_ms"], rel=0.9)


def test_infer_takes_steps_and_seed(project, trained, tmp_path):
    folders = ["--models", trained / "models", "--aligned", project.data / "aligned"]
    assert project.run("infer", *CELL, *folders, "--steps", 2, "--seed", 3, folder=tmp_path) == 0
    audio, _ = read_audio(tmp_path / "results" / "renders" / "1024" / "lstm" / "music_12.wav")
    events = np.load(project.data / "aligned" / "music_12.npy")
    expected = render(Synthesizer(load_voice(weights_of(trained)), 2, 3), events)[: 5 * RATE]
    np.testing.assert_allclose(audio, expected.clip(-1, 1), atol=1.01 / 32768)


def test_the_options_of_the_published_starter_work(project, tmp_path):
    options = ["--units", 10, "--cond-dim", 6, "--batch-size", 6, "--mini-batch-size", 3]
    options += ["--learning-rate", 0.01, "--epochs", 1, "--datasets", "demo"]
    folders = ["--model-save-dir", "my models", "--data-dir", project.data]
    assert project.run("train", "--model", "lstm", *options, *folders, folder=tmp_path) == 0
    path = tmp_path / "my models" / "512" / "lstm.safetensors"
    network, train = load_voice(path).config.network, read_card(path)["train"]
    assert (network.units, network.cond_units, network.layers) == (10, 6, 1)
    assert (train["batch_size"], train["mini_batch_size"], train["learning_rate"]) == (6, 3, 0.01)
    # 5 segments of 750 frames, 6 sequences of 64 frames a step: 9.8.
    assert train["steps"] == 10
    assert project.run("train", "--model", "lstm", "--only-inference", *folders, folder=tmp_path) == 0
    assert (tmp_path / "results" / "renders" / "512" / "lstm" / "music_12.wav").is_file()


def test_a_batch_smaller_than_the_mini_batches_is_one(project, tmp_path):
    options = ["--batch-size", 2, "--steps", 1, "--data-dir", project.data]
    assert project.run("train", *CELL, *options, folder=tmp_path) == 0
    train = read_card(weights_of(tmp_path))["train"]
    assert (train["batch_size"], train["mini_batch_size"], train["steps"]) == (2, 2, 1)


Interrupted = namedtuple("Interrupted", "folder step run_id")


LONG = 400  # steps: more than are done between the first checkpoint and a signal


def set_long(project, folder):
    """Parameters of a long run, which is validated twice."""
    text = (project.folder / "params.yaml").read_text()
    for old, new in (("steps: 8\n", f"steps: {LONG}\n"), ("validate_every: 4\n", "validate_every: 200\n")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "params.yaml").write_text(text)


def interrupted_train(project, folder, number):
    """Starts `train` as a process, stops it with a signal after its first checkpoint."""
    set_long(project, folder)
    options = [*CELL, "--data-dir", project.data]
    command = [sys.executable, "-m", "pipeline", "train", *map(str, options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen(command, cwd=folder, env=environment, **pipes)
    checkpoint, end = folder / "checkpoints" / "1024" / "lstm.safetensors", time.monotonic() + 120
    while not checkpoint.exists() and child.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    child.send_signal(number)
    _, error = child.communicate(timeout=60)
    with safe_open(str(checkpoint), framework="pt") as file:
        numbers = json.loads(file.metadata()["numbers"])
    assert not (folder / "models").exists()
    return child.returncode, error, Interrupted(folder, numbers["progress"]["step"], numbers["run_id"])


@pytest.fixture(scope="module")
def interrupted(project, tmp_path_factory):
    """A run that SIGTERM has stopped."""
    folder = tmp_path_factory.mktemp("interrupted")
    code, error, run = interrupted_train(project, folder, signal.SIGTERM)
    assert (code, error) == (143, "")
    assert 3 <= run.step < LONG
    return run


@pytest.fixture
def resumable(interrupted, tmp_path):
    """A copy of it, to go on with."""
    shutil.copytree(interrupted.folder, tmp_path, dirs_exist_ok=True)
    return interrupted._replace(folder=tmp_path)


def test_an_interrupted_training_goes_on_and_ends_as_if_it_had_not_been(
    project, resumable, tmp_path_factory, mlflow_store, capsys
):
    options = [*CELL, "--data-dir", project.data]
    client = MlflowClient(mlflow_store)
    assert client.get_run(resumable.run_id).info.status == "KILLED"
    assert project.run("train", *options, folder=resumable.folder) == 0
    assert capsys.readouterr().out.startswith(f"continuing lstm-1024 after step {resumable.step}\n")
    assert client.get_run(resumable.run_id).info.status == "FINISHED"
    losses = client.get_metric_history(resumable.run_id, "loss")
    assert sorted(metric.step for metric in losses) == list(range(1, LONG + 1))
    set_long(project, whole := tmp_path_factory.mktemp("whole"))
    assert project.run("train", *options, folder=whole) == 0
    assert weights_of(resumable.folder).read_bytes() == weights_of(whole).read_bytes()
    curve = os.path.join("results", "train", "1024", "lstm", "loss.csv")
    assert (resumable.folder / curve).read_bytes() == (whole / curve).read_bytes()
    assert not list((resumable.folder / "checkpoints").rglob("*.safetensors"))


def test_ctrl_c_is_one_line_and_leaves_a_checkpoint(project, tmp_path):
    code, error, run = interrupted_train(project, tmp_path, signal.SIGINT)
    assert (code, error) == (130, "diffsynth: interrupted\n")
    assert run.step >= 3


def other_data(project, folder):
    """A copy of the data, with one gain changed."""
    shutil.copytree(project.data, folder / "data")
    path = folder / "data" / "features" / "train.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return folder / "data"


def other_code(folder, monkeypatch):
    """Library with a comment more."""
    shutil.copytree(pipeline.training.LIBRARY, folder / "library")
    with (folder / "library" / "diffusion.py").open("a") as file:
        file.write("# changed\n")
    monkeypatch.setattr(pipeline.training, "LIBRARY", folder / "library")


@pytest.mark.parametrize("what", ["learning rate", "units", "seed", "data", "code"])
def test_a_checkpoint_of_something_else_is_refused(project, resumable, refuse, monkeypatch, what):
    change = {
        "learning rate": ["--learning-rate", 0.003],
        "units": ["--units", 13],
        "seed": ["--seed", 1],
    }.get(what, [])
    data = other_data(project, resumable.folder) if what == "data" else project.data
    if what == "code":
        other_code(resumable.folder, monkeypatch)
    error = refuse("train", *CELL, "--data-dir", data, *change)
    path = os.path.join("checkpoints", "1024", "lstm.safetensors")
    assert error == (
        f"{path} belongs to another configuration, other data or other code: "
        f"use --restart to train from the beginning, or remove {path}"
    )


def test_a_damaged_checkpoint_is_refused(project, resumable, refuse):
    path = resumable.folder / "checkpoints" / "1024" / "lstm.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    error = refuse("train", *CELL, "--data-dir", project.data)
    assert "is damaged: use --restart to train from the beginning" in error


def test_restart_begins_anew(project, resumable, trained, capsys):
    (resumable.folder / "params.yaml").unlink()  # back to that of the project
    options = [*CELL, "--data-dir", project.data, "--restart"]
    assert project.run("train", *options, folder=resumable.folder) == 0
    assert "continuing" not in capsys.readouterr().out
    assert weights_of(resumable.folder).read_bytes() == weights_of(trained).read_bytes()
    assert not list((resumable.folder / "checkpoints").rglob("*.safetensors"))


def test_training_without_what_comes_before_names_it(project, refuse, tmp_path):
    shutil.copytree(project.data, tmp_path / "data")
    for path, command in (
        ("features/validation.safetensors", "features"),
        ("fit/piano.safetensors", "fit"),
        ("shards/index.json", "shard"),
        ("features/train.safetensors", "features"),
    ):
        moved = tmp_path / "data" / path
        content = moved.read_bytes()
        moved.unlink()
        assert refuse("train", *CELL) == f"data/{path} does not exist; run `diffsynth {command}` first"
        moved.write_bytes(content)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--datasets", "maestro"], "holds the dataset demo; run `diffsynth download --name maestro` first"),
        (["--mini-batch-size", 3], "train.batch_size must be a multiple of train.mini_batch_size"),
        (["--steps", 0], "Invalid value for '--steps': Input should be greater than or equal to 1"),
        (["--epochs", "many"], "Invalid value for '--epochs': Input should be a valid integer"),
        (["--learning-rate", "nan"], "Invalid value for '--learning-rate': "),
        (["--learning-rate", "inf"], "train: learning_rate must be finite, not inf"),
        (["--block", 500], "unknown block 500: choose one of 512, 1024, 2048, 4096"),
        (["--model", "unet"], "unknown model 'unet': choose one of lstm, s6"),
        (["--params", "nothing.yaml"], "nothing.yaml does not exist; run this in the repository"),
        (["--only-inference"], "models/1024/lstm.safetensors does not exist; run `diffsynth train --model"),
    ],
)
def test_training_that_cannot_be_is_refused(project, refuse, options, message):
    assert message in refuse("train", *CELL, "--data-dir", project.data, *options)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sequence: 64", "sequence: 800", "train.sequence is longer than a segment, which has 750 frames"),
        ("warmup: 16", "warmup: 64", "train.sequence, in whole blocks of 8 frames, must exceed train.warmup"),
        ("validate_every: 4", "validate_every: 0", "train.validate_every must be at least 1"),
        ("steps: 8", "steps: eight", "train: steps must be of type int, not 'eight'"),
        ("frame: 128", "frame: 100", "a block of 1024 samples does not hold whole frames of 100"),
    ],
)
def test_params_that_cannot_be_are_refused(project, refuse, tmp_path, old, new, message):
    text = (project.folder / "params.yaml").read_text()
    assert text.count(old) == 1
    (tmp_path / "params.yaml").write_text(text.replace(old, new))
    assert message in refuse("train", *CELL, "--data-dir", project.data)


def test_a_split_without_performances_is_named(project, refuse, tmp_path, capsys):
    shutil.copytree(project.data / "aligned", tmp_path / "data" / "aligned")
    path = tmp_path / "data" / "aligned" / "index.json"
    path.write_text(path.read_text().replace('"validation"', '"train"'))
    assert project.run("shard", folder=tmp_path) == 0
    assert capsys.readouterr().out == "data/shards: 7 train, 0 validation, 2 test\n"
    error = refuse("features", "--fit", project.data / "fit" / "piano.safetensors")
    assert error == "there is nothing to compute features of: each split needs a performance"
    path.write_text(path.read_text().replace('"train"', '"validation"'))
    assert "holds no performance of the train split" in refuse("fit")


def test_features_of_damaged_shards_are_refused(project, refuse, tmp_path):
    shutil.copytree(project.data / "shards", tmp_path / "data" / "shards")
    path = tmp_path / "data" / "shards" / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:-2000])
    error = refuse("features", "--fit", project.data / "fit" / "piano.safetensors")
    assert error == "data/shards/train-000001.tar is missing or damaged; run `diffsynth shard` again"


def test_infer_without_its_input_names_it(project, trained, refuse, tmp_path):
    error = refuse("infer", "--model", "s6", "--block", 512, "--aligned", project.data / "aligned")
    assert error == (
        "models/512/s6.safetensors does not exist; run `diffsynth train --model s6 --block 512` first"
    )
    error = refuse("infer", *CELL, "--models", trained / "models")
    assert error == "data/aligned/index.json does not exist; run `diffsynth align` first"
    weights_of(tmp_path).parent.mkdir(parents=True)
    weights_of(tmp_path).write_text("no weights")
    assert "is not a safetensors file" in refuse("infer", *CELL, "--aligned", project.data / "aligned")


def test_infer_writes_nothing_where_it_cannot(project, trained, refuse, tmp_path):
    (tmp_path / "file").write_text("in the way")
    folders = ["--models", trained / "models", "--aligned", project.data / "aligned"]
    error = refuse("infer", *CELL, *folders, "--out", tmp_path / "file")
    assert error == f"cannot write {tmp_path}/file/1024/lstm: Not a directory"


@pytest.fixture(scope="module")
def midi(tmp_path_factory):
    """The first seconds of a demo performance as a MIDI file."""
    events = read_midi(ROOT / "data" / "demo" / "music_12.mid")
    path = tmp_path_factory.mktemp("midi") / "music.mid"
    write_midi(path, events[events["time"] < 1.5])
    return path


@pytest.mark.parametrize("model", ["lstm", "s6"])
@pytest.mark.parametrize("name", ["out.wav", "deep/er/out.FLAC"])
def test_render_plays_a_midi_file(project, trained, midi, tmp_path, capsys, model, name):
    options = ["--model", model, "--block", 1024, "--seed", 4, "--steps", 2]
    assert project.run("render", midi, tmp_path / name, *options, "--models", trained / "models") == 0
    audio, rate = read_audio(tmp_path / name)
    expected = render(Synthesizer(load_voice(weights_of(trained, model)), 2, 4), read_midi(midi))
    assert rate == RATE
    np.testing.assert_allclose(audio, expected.clip(-1, 1), atol=1.01 / 32768)
    assert capsys.readouterr().out.startswith(f"{tmp_path / name}: {len(audio) / RATE:.1f} s at RTF ")


def test_render_prefers_the_given_voice_to_the_released_to_the_trained(project, trained, midi, tmp_path):
    shutil.copytree(trained / "models", tmp_path / "weights")
    os.replace(weights_of(trained, "s6"), given := tmp_path / "given.safetensors")
    try:
        shutil.copy(given, tmp_path / "weights" / "1024" / "lstm.safetensors")
        played = {}
        for name, options in {
            "trained": ["--models", trained / "models"],
            "released": ["--models", trained / "models", "--released", tmp_path / "weights"],
            "given": ["--models", trained / "models", "--weights", given],
        }.items():
            assert project.run("render", midi, tmp_path / f"{name}.wav", *CELL, *options) == 0
            played[name] = (tmp_path / f"{name}.wav").read_bytes()
    finally:
        os.replace(given, weights_of(trained, "s6"))
    assert played["given"] == played["released"] != played["trained"]


def test_render_says_what_is_clipped(project, trained, midi, tmp_path, capsys):
    voice = load_voice(weights_of(trained))
    loud = dataclasses.replace(
        voice, piano=dataclasses.replace(voice.piano, amplitude=1e3 * voice.piano.amplitude)
    )
    pipeline.training.save_voice(tmp_path / "loud.safetensors", loud, {})
    out = tmp_path / "loud.wav"
    assert project.run("render", midi, out, "--weights", tmp_path / "loud.safetensors") == 0
    clipped = int((np.abs(render(Synthesizer(loud), read_midi(midi))) > 1).sum())
    assert clipped > 100
    assert capsys.readouterr().out.endswith(f", {clipped} samples clipped\n")
    assert np.abs(read_audio(out)[0]).max() <= 1


def bad_midi(folder, midi, kind):
    path = folder / f"{kind}.mid"
    whole = midi.read_bytes()
    if kind == "empty":
        write_midi(path, read_midi(midi)[:0])
    elif kind != "missing":
        path.write_bytes(
            {"truncated": whole[: len(whole) // 2], "text": b"a text\n" * 20, "nothing": b""}[kind]
        )
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "does not exist"),
        ("truncated", "is not a readable MIDI file:"),
        ("text", "is not a readable MIDI file:"),
        ("nothing", "is not a readable MIDI file:"),
        ("empty", "holds no piano notes"),
    ],
)
def test_a_midi_file_that_cannot_be_played_is_named(trained, midi, refuse, tmp_path, kind, message):
    path = bad_midi(tmp_path, midi, kind)
    error = refuse("render", path, "new/out.wav", *CELL, "--models", trained / "models")
    assert error.startswith(f"{path} {message}")
    assert not error.endswith(":")


def test_a_render_that_cannot_be_written_is_named(trained, midi, refuse, tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.wav").mkdir()
    models = ["--models", trained / "models"]
    assert refuse("render", midi, "file/out.wav", *CELL, *models) == "cannot write file/out.wav: File exists"
    assert refuse("render", midi, "out.mp3", *CELL, *models) == "out.mp3 must end in .wav or .flac"
    assert refuse("render", midi, "out", *CELL, *models) == "out must end in .wav or .flac"
    assert refuse("render", midi, "folder.wav", *CELL, *models) == "folder.wav is a folder"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "unet"], "unknown model 'unet': choose one of lstm, s6"),
        (["--block", 100], "unknown block 100: choose one of 512, 1024, 2048, 4096"),
        (["--block", 4096], "no weights for lstm at 4096: run `dvc repro train@lstm-4096` first"),
        (["--weights", "mine.safetensors"], "mine.safetensors does not exist"),
        (["--weights", "params.yaml"], "params.yaml is not a safetensors file: "),
        (["--steps", 0], "Invalid value for '--steps': Input should be greater than or equal to 1"),
        (["--seed", -1], "Invalid value for '--seed': Input should be greater than or equal to 0"),
    ],
)
def test_a_voice_that_cannot_be_is_named(trained, midi, refuse, options, message):
    assert refuse("render", midi, "out.wav", *CELL, "--models", trained / "models", *options).startswith(
        message
    )


def test_a_voice_that_does_not_fit_is_one_line(trained, midi, refuse, tmp_path):
    voice = load_voice(weights_of(trained))
    wider = dataclasses.replace(voice.config.network, units=14)
    wrong = dataclasses.replace(voice, config=dataclasses.replace(voice.config, network=wider))
    pipeline.training.save_voice(tmp_path / "wrong.safetensors", wrong, {})
    error = refuse("render", midi, "out.wav", "--weights", "wrong.safetensors")
    assert error.startswith("wrong.safetensors does not hold what its header describes: ")


@pytest.fixture(autouse=True)
def _default_torch():
    """Commands set threads and determinism for their process; the next test starts from what was."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
