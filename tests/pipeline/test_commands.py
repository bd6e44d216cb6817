"""`fit`, `features`, `train` and `infer` on a small part of the demo, from end to end."""

import csv
import os
import shutil

import numpy as np
import pytest
import soundfile

from diffsynth.audio.files import read_audio
from diffsynth.midi.events import to_notes
from diffsynth.piano.piano import load_piano
from diffsynth.representation.feature_shards import FeatureFolder
from diffsynth.representation.normaliser import Normaliser
from diffsynth.representation.targets import Targets
from diffsynth.runs.files import read_json, sha256, write_json
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.weights import load_voice, read_card
from pipeline.params import load_params

RATE = 24000
VARIANT = ["--model", "lstm", "--block", 1024]


def weights_of(folder, model="lstm"):
    return folder / "models" / "1024" / f"{model}.safetensors"


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
    params = load_params(project.folder / "params.yaml")
    targets = Targets(params.features, params.audio)
    for split in ("train", "validation"):
        features = FeatureFolder(project.data / "features", split)
        rows = [(shard, row) for shard, counts in enumerate(features.recorded) for row in range(len(counts))]
        assert len(rows) == index[split]["samples"]
        for shard, row in rows:
            cond, levels = features.read(shard, row, slice(None))
            assert cond.shape == (187, 30 + 2 * 88 + 3)
            assert levels.shape == (187, 5, 20)
            gains, weight = targets(levels)
            heard = features.recorded[shard][row]
            assert weight[:heard].any()
            assert np.abs(gains).max() <= 2.301  # 20 dB, in half precision


def test_training_writes_a_voice_that_says_where_it_comes_from(project, trained):
    for model in ("lstm", "s6"):
        path = weights_of(trained, model)
        voice, card = load_voice(path), read_card(path)
        assert (voice.config.model, voice.config.block, voice.config.hops) == (model, 1024, 2)
        assert voice.config.network.units == 12
        np.testing.assert_array_equal(voice.normaliser.scale, Normaliser.around_unity(70).scale)
        assert card["data"] == {
            name: sha256(project.data / name)
            for name in ("features/index.json", "fit/piano.safetensors", "shards/index.json")
        }
        assert card["train"]["steps"] == 8
        with (trained / "results" / "train" / "1024" / model / "loss.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["step"] for row in rows] == ["4", "8"]
        assert {name: f"{value:.6g}" for name, value in card["validation"].items()} == rows[-1]
        assert float(rows[-1]["streamed_lsd"]) > 0
        kept = trained / "checkpoints" / "finished" / "1024" / f"{model}.safetensors"
        assert kept in (found := list((trained / "checkpoints").rglob("*.safetensors")))
        assert len(found) == 2


@pytest.mark.parametrize("model", ["lstm", "s6"])
def test_two_runs_from_scratch_are_the_same_bytes(project, trained, tmp_path, model):
    variant = ["--model", model, "--block", 1024]
    assert project.run("train", *variant, "--data-dir", project.data, folder=tmp_path) == 0
    assert weights_of(tmp_path, model).read_bytes() == weights_of(trained, model).read_bytes()
    curve = os.path.join("results", "train", "1024", model, "loss.csv")
    assert (tmp_path / curve).read_bytes() == (trained / curve).read_bytes()


@pytest.mark.parametrize("model", ["lstm", "s6"])
def test_infer_renders_the_test_split_through_the_engine(project, trained, model):
    folder = trained / "results" / "renders" / "1024" / model
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", "music_12.wav"]
    audio, rate = read_audio(folder / "music_12.wav")
    assert (len(audio), rate) == (5 * RATE, RATE)
    assert soundfile.info(folder / "music_12.wav").subtype == "PCM_16"
    events = np.load(project.data / "aligned" / "music_12.npy")
    expected = render(Synthesizer(load_voice(weights_of(trained, model))), events)[: 5 * RATE]
    np.testing.assert_allclose(audio, expected.clip(-1, 1), atol=1.01 / 32768)
    timings = read_json(trained / "results" / "timings" / "1024" / f"{model}.json")
    assert timings.keys() == {"rtf", "p50_ms", "p99_ms", "block", "model", "sample_rate", "seconds"}
    assert (timings["block"], timings["model"], timings["sample_rate"]) == (1024, model, RATE)
    assert timings["seconds"] == pytest.approx(-(-5 * RATE // 1024) * 1024 / RATE, abs=1e-3)
    assert 0 < timings["p50_ms"] <= timings["p99_ms"]
    assert timings["rtf"] > 0


def test_two_renders_are_the_same_bytes_and_hold_no_timings(project, trained, tmp_path):
    folders = ["--models", trained / "models", "--aligned", project.data / "aligned"]
    assert project.run("infer", *VARIANT, *folders, folder=tmp_path) == 0
    first, second = (folder / "results" / "renders" / "1024" / "lstm" for folder in (trained, tmp_path))
    for name in ("index.json", "music_12.wav"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_infer_takes_steps_and_seed(project, trained, diffused, refuse, tmp_path):
    folders = ["--models", trained / "models", "--aligned", project.data / "aligned"]
    error = refuse("infer", *VARIANT, *folders, "--steps", 2)
    assert error == "this voice learned by spectra, which takes one step, not 2"
    folders[1] = diffused
    assert project.run("infer", *VARIANT, *folders, "--steps", 2, "--seed", 3, folder=tmp_path) == 0
    audio, _ = read_audio(tmp_path / "results" / "renders" / "1024" / "lstm" / "music_12.wav")
    events = np.load(project.data / "aligned" / "music_12.npy")
    expected = render(Synthesizer(load_voice(weights_of(diffused.parent)), 2, 3), events)[: 5 * RATE]
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
    # 4 segments of 187 hops and one of 93; 48 hops of a sequence carry loss: 4 times 4,
    # and 2 sequences, 6 a step.
    assert train["steps"] == 3
    assert project.run("train", "--model", "lstm", "--only-inference", *folders, folder=tmp_path) == 0
    assert (tmp_path / "results" / "renders" / "512" / "lstm" / "music_12.wav").is_file()


def test_a_batch_smaller_than_the_mini_batches_is_one(project, tmp_path):
    options = ["--batch-size", 2, "--steps", 1, "--data-dir", project.data]
    assert project.run("train", *VARIANT, *options, folder=tmp_path) == 0
    train = read_card(weights_of(tmp_path))["train"]
    assert (train["batch_size"], train["steps"]) == (2, 1)


def test_the_dataset_is_that_of_the_files_trained_on(project, refuse, tmp_path, capsys):
    """Another dataset was downloaded, and nothing was made of it yet."""
    data = shutil.copytree(project.data, tmp_path / "data")
    manifest = data / "raw" / "manifest.json"
    manifest.parent.mkdir(exist_ok=True)
    write_json(manifest, {"dataset": "maestro", "performances": [], "set_aside": []})
    message = (
        "data/{} was made of the dataset {}; set dataset.name to {} in params.yaml and run "
        "`dvc repro features` first"
    )
    assert project.run("train", *VARIANT, "--steps", 1, "--datasets", "demo", folder=tmp_path) == 0
    capsys.readouterr()
    found = refuse("train", *VARIANT, "--datasets", "maestro")
    assert found == message.format("features/index.json", "demo", "maestro")
    index = read_json(data / "shards" / "index.json")
    write_json(data / "shards" / "index.json", {**index, "dataset": "folder"})
    found = refuse("train", *VARIANT, "--datasets", "demo")
    assert found == message.format("shards/index.json", "folder", "demo")
    index = read_json(data / "features" / "index.json")
    write_json(data / "features" / "index.json", {**index, "dataset": None})
    found = refuse("train", *VARIANT, "--datasets", "demo")
    assert found == message.format("features/index.json", "(unknown)", "demo")


def test_training_without_what_comes_before_names_it(project, refuse, tmp_path):
    shutil.copytree(project.data, tmp_path / "data")
    for path, command in (
        ("fit/piano.safetensors", "fit"),
        ("shards/index.json", "shard"),
        ("features/index.json", "features"),
    ):
        moved = tmp_path / "data" / path
        content = moved.read_bytes()
        moved.unlink()
        assert refuse("train", *VARIANT) == f"data/{path} does not exist; run `diffsynth {command}` first"
        moved.write_bytes(content)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--datasets", "maestro"], "was made of the dataset demo; set dataset.name to maestro in params"),
        (["--steps", 0], "Invalid value for '--steps': Input should be greater than or equal to 1"),
        (["--epochs", "many"], "Invalid value for '--epochs': Input should be a valid integer"),
        (["--learning-rate", "nan"], "Invalid value for '--learning-rate': "),
        (["--learning-rate", "inf"], "train: learning_rate must be finite, not inf"),
        (["--block", 500], "unknown block 500: choose one of 512, 1024, 2048, 4096"),
        (["--model", "gru"], "unknown model 'gru': choose one of lstm, s6, unet"),
        (["--params", "nothing.yaml"], "nothing.yaml does not exist; run this in the repository"),
        (["--only-inference"], "models/1024/lstm.safetensors does not exist; run `diffsynth train --model"),
    ],
)
def test_training_that_cannot_be_is_refused(project, refuse, options, message):
    assert message in refuse("train", *VARIANT, "--data-dir", project.data, *options)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sequence: 64", "sequence: 800", "train.sequence is longer than a segment, which has 187 hops"),
        ("warmup: 16", "warmup: 64", "train.sequence, in whole blocks of 2 hops, must exceed train.warmup"),
        ("validate_every: 4", "validate_every: 0", "train: validate_every must be at least 1, not 0"),
        ("steps: 8", "steps: eight", "train: steps must be of type int, not 'eight'"),
        ("frame: 128", "frame: 100", "a block of 1024 samples does not hold whole frames of 100"),
    ],
)
def test_params_that_cannot_be_are_refused(project, refuse, tmp_path, old, new, message):
    text = (project.folder / "params.yaml").read_text()
    assert text.count(old) == 1
    (tmp_path / "params.yaml").write_text(text.replace(old, new))
    assert message in refuse("train", *VARIANT, "--data-dir", project.data)


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
    entry = read_json(tmp_path / "data" / "shards" / "index.json")["splits"]["train"]["shards"][1]
    assert error == (
        f"data/shards/train-000001.tar is damaged, its SHA-256 is {sha256(path)} "
        f"({entry['samples']} samples, SHA-256 {entry['sha256']}); run `diffsynth shard` again"
    )


def test_infer_without_its_input_names_it(project, trained, refuse, tmp_path):
    error = refuse("infer", "--model", "s6", "--block", 512, "--aligned", project.data / "aligned")
    assert error == (
        "models/512/s6.safetensors does not exist; run `diffsynth train --model s6 --block 512` first"
    )
    error = refuse("infer", *VARIANT, "--models", trained / "models")
    assert error == "data/aligned/index.json does not exist; run `diffsynth align` first"
    weights_of(tmp_path).parent.mkdir(parents=True)
    weights_of(tmp_path).write_text("no weights")
    assert "is not a safetensors file" in refuse("infer", *VARIANT, "--aligned", project.data / "aligned")


def test_infer_writes_nothing_where_it_cannot(project, trained, refuse, tmp_path):
    (tmp_path / "file").write_text("in the way")
    folders = ["--models", trained / "models", "--aligned", project.data / "aligned"]
    error = refuse("infer", *VARIANT, *folders, "--out", tmp_path / "file")
    assert error == f"cannot write {tmp_path}/file/1024/lstm: Not a directory"
