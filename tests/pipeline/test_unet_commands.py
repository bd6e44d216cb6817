"""`train`, `infer` and `render` with the published network at a small width, from the shards alone."""

import csv
import shutil

import numpy as np
import pytest

from diffsynth.audio.files import read_audio
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events
from diffsynth.midi.files import read_midi, write_midi
from diffsynth.models.unet import Unet
from diffsynth.runs.files import read_json, sha256
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.weights import load_voice, read_card

RATE = 24000
VARIANT = ["--model", "unet", "--block", 512]
SHORT = ["--steps", 2, "--batch-size", 2, "--learning-rate", 0.001]


@pytest.fixture(scope="module")
def shards(project, tmp_path_factory):
    """A data folder with the shards and the aligned test performance, and nothing else."""
    folder = tmp_path_factory.mktemp("data")
    shutil.copytree(project.data / "shards", folder / "shards")
    shutil.copytree(project.data / "aligned", folder / "aligned")
    return folder


@pytest.fixture(scope="module")
def trained_unet(project, shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unet")
    assert project.run("train", *VARIANT, *SHORT, "--data-dir", shards, folder=folder) == 0
    return folder


def weights_of(folder):
    return folder / "models" / "512" / "unet.safetensors"


def test_training_writes_a_voice_that_says_where_it_comes_from(project, shards, trained_unet, tmp_path):
    voice, card = load_voice(weights_of(trained_unet)), read_card(weights_of(trained_unet))
    assert (voice.config.model, voice.config.block, voice.config.network) == ("unet", 512, Unet(8))
    assert voice.config.objective == "velocity"  # as published, whatever the others learn by
    assert voice.config.audio.sample_rate == RATE
    assert voice.normaliser.scale.shape == (5, 256)
    assert voice.normaliser.scale.min() >= 0.0128  # -80 dB of the height of a full-scale sinusoid, 128
    assert card["data"] == {"shards/index.json": sha256(shards / "shards" / "index.json")}
    assert card["train"]["steps"] == 2
    with (trained_unet / "results" / "train" / "512" / "unet" / "loss.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["step"] == "2"
    assert {name: f"{value:.6g}" for name, value in card["validation"].items()} == row
    kept = trained_unet / "checkpoints" / "finished" / "512" / "unet.safetensors"
    assert list((trained_unet / "checkpoints").rglob("*.safetensors")) == [kept]
    assert project.run("train", *VARIANT, *SHORT, "--data-dir", shards, folder=tmp_path) == 0
    assert weights_of(tmp_path).read_bytes() == weights_of(trained_unet).read_bytes()


def test_infer_renders_the_test_split_through_the_engine(project, shards, trained_unet):
    assert project.run("infer", *VARIANT, "--aligned", shards / "aligned", folder=trained_unet) == 0
    folder = trained_unet / "results" / "renders" / "512" / "unet"
    audio, rate = read_audio(folder / "music_12.wav")
    assert (len(audio), rate) == (5 * RATE, RATE)
    events = np.load(shards / "aligned" / "music_12.npy")
    first = render(Synthesizer(load_voice(weights_of(trained_unet))), events[:3], 1.0)
    length = int(events["time"][3] * RATE) // 512 * 512  # until then the others are not known
    assert length > 0
    np.testing.assert_allclose(audio[:length], first[:length].clip(-1, 1), atol=1.01 / 32768)
    timings = read_json(trained_unet / "results" / "timings" / "512" / "unet.json")
    assert (timings["model"], timings["block"]) == ("unet", 512)
    assert timings["rtf"] > 0


def test_render_plays_a_midi_file(project, trained_unet, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("diffsynth.synthesis.fading.LONGEST", 1.0)  # it is never silent
    write_midi(tmp_path / "in.mid", make_events([(0.1, NOTE_ON, 60, 90), (0.3, NOTE_OFF, 60, 0)]))
    options = ["--models", trained_unet / "models", "--seed", 4]
    assert project.run("render", tmp_path / "in.mid", tmp_path / "out.wav", *VARIANT, *options) == 0
    assert " s at RTF " in capsys.readouterr().out
    audio, rate = read_audio(tmp_path / "out.wav")
    expected = render(
        Synthesizer(load_voice(weights_of(trained_unet)), seed=4), read_midi(tmp_path / "in.mid")
    )
    assert rate == RATE
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(audio, expected.clip(-1, 1), atol=1.01 / 32768)


def test_units_are_the_width(project, shards, tmp_path):
    options = ["--units", 16, "--steps", 1, "--batch-size", 1, "--data-dir", shards]
    assert project.run("train", *VARIANT, *options, folder=tmp_path) == 0
    assert load_voice(weights_of(tmp_path)).config.network == Unet(16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cond-dim", 3], "unet takes no --cond-dim, see --units"),
        (["--units", 12], "unet.width must be a multiple of 8, not 12"),
        (["--data-dir", "nowhere"], "nowhere/shards/index.json does not exist; run `diffsynth shard` first"),
    ],
)
def test_training_that_cannot_be_is_refused(shards, refuse, options, message):
    assert refuse("train", *VARIANT, "--data-dir", shards, *options) == message


def test_segments_that_hold_no_block_are_refused(project, shards, refuse, tmp_path, capsys):
    text = (project.folder / "params.yaml").read_text()
    assert text.count("segment: 4.0") == 1
    (tmp_path / "params.yaml").write_text(text.replace("segment: 4.0", "segment: 0.15"))
    aligned = ["--aligned", shards / "aligned"]
    assert project.run("shard", *aligned, "--out", tmp_path / "data" / "shards", folder=tmp_path) == 0
    capsys.readouterr()
    error = refuse("train", "--model", "unet", "--block", 4096, "--data-dir", tmp_path / "data")
    assert error == "no recording holds a block of 4096 samples with one before it"
