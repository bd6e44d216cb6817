"""Voices on disk: nothing lost, nothing believed that does not fit."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from diffsynth.audio.format import BLOCKS
from diffsynth.errors import UserError
from diffsynth.midi.events import NOTE_ON, make_events
from diffsynth.runs.files import sha256
from diffsynth.synthesis.config import RELEASED_VOICE
from diffsynth.synthesis.gain_voice import GainConfig
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.voice_files import released_voices
from diffsynth.synthesis.weights import FORMAT, load_voice, read_card, save_voice
from pipeline.params import load_params

WEIGHTS = Path(__file__).parents[2] / "weights"
EVENTS = make_events([(0.05 * i, NOTE_ON, 40 + 7 * i, 50 + 10 * i) for i in range(6)])


def header_of(path):
    with safe_open(str(path), framework="pt") as file:
        return json.loads(file.metadata()[FORMAT])


@pytest.fixture
def voice_file(tmp_path, make_voice):
    """Path of a voice, and a function that rewrites it with other tensors or another header."""
    path = tmp_path / "voice.safetensors"
    save_voice(path, make_voice("s6", 1024), {"data": "none"})

    def rewrite(change=lambda tensors, header, config: None):
        tensors, header = load_file(path), header_of(path)
        change(tensors, header, header["config"])
        save_file(tensors, str(path), {FORMAT: json.dumps(header)})

    return path, rewrite


def refusal(path):
    """What is wrong with a voice, as the user sees it: one line that names the file."""
    with pytest.raises(UserError) as error:
        load_voice(path)
    message = " ".join(str(error.value).split())
    assert str(path) in message
    return message


@pytest.mark.parametrize("model", ["lstm", "s6", "unet"])
@pytest.mark.parametrize("block", [512, 4096])
def test_a_voice_read_again_plays_the_same_samples(tmp_path, make_voice, model, block):
    voice, path = make_voice(model, block), tmp_path / "new" / "voice.safetensors"
    save_voice(path, voice, {})
    again = load_voice(path)
    assert again.config == voice.config
    assert not again.denoiser.training
    assert not any(parameter.requires_grad for parameter in again.denoiser.parameters())
    audio = render(Synthesizer(voice, steps=2), EVENTS, 0.5)
    assert np.abs(audio).max() > 0.01
    np.testing.assert_array_equal(render(Synthesizer(again, steps=2), EVENTS, 0.5), audio)


def test_the_header_holds_the_whole_configuration_and_the_card(tmp_path, make_voice):
    voice, path = make_voice("s6", 2048), tmp_path / "voice.safetensors"
    card = {"data": {"train": "ab12"}, "steps": 7, "title": "Flügel"}
    save_voice(path, voice, card)
    assert header_of(path)["config"] == {
        "model": "s6",
        "block": 2048,
        "objective": "velocity",
        "audio": {"sample_rate": 24000, "frame": 128, "channels": 1},
        "features": dataclasses.asdict(voice.config.features),
        "network": {
            "units": 12,
            "layers": 1,
            "cond_units": 10,
            "band_units": 4,
            "band_layers": 1,
            "dropout": 0.1,
            "state": 4,
            "expand": 2,
            "conv": 3,
        },
    }
    assert read_card(path) == card
    assert voice.config.hops == 8


def test_equal_voices_make_equal_files(tmp_path, make_voice):
    for i in range(8):
        save_voice(
            tmp_path / str(i), make_voice("lstm", 512), {"b": 1, "a": 2} if i % 2 else {"a": 2, "b": 1}
        )
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_a_voice_is_not_half_written(tmp_path, make_voice):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        save_voice(tmp_path / "file" / "voice.safetensors", make_voice(), {})
    with pytest.raises(TypeError):
        save_voice(tmp_path / "voice.safetensors", make_voice(), {"card": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_no_safetensors_file_is_refused(tmp_path, voice_file):
    path, _ = voice_file
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:100], b"", b"not a voice\n" * 99, b"\xff" * 64):
        path.write_bytes(content)
        assert "is not a safetensors file" in refusal(path)
    assert refusal(tmp_path / "nothing.safetensors").endswith("does not exist")
    assert "is a folder, not a voice" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, h, c: h.pop("config"), "is not a diffsynth voice"),
        (lambda t, h, c: h.update(config="all"), "is not a diffsynth voice"),
        (lambda t, h, c: h.pop("card"), "is not a diffsynth voice"),
        (lambda t, h, c: c.update(model="gru"), "'gru': choose one of lstm, s6, unet"),
        (lambda t, h, c: c.update(model="unet"), "unknown parameter in"),
        (lambda t, h, c: c.update(block=500), "500: choose one of 512, 1024, 2048, 4096"),
        (lambda t, h, c: c.pop("network"), "network must be a section"),
        (lambda t, h, c: c["network"].pop("state"), "missing parameter in"),
        (lambda t, h, c: c["network"].update(units="wide"), "units must be of type int"),
        (lambda t, h, c: c["network"].update(units=14), "size mismatch"),
        (lambda t, h, c: c["features"].update(bands=8), "size mismatch"),
        (lambda t, h, c: t.pop("denoiser.trunk.input.bias"), "Missing key(s)"),
        (lambda t, h, c: t.update({"denoiser.more": torch.zeros(2)}), "Unexpected key(s)"),
        (lambda t, h, c: t.pop("normaliser.scale"), "scale"),
        (lambda t, h, c: t.update({"normaliser.more": torch.zeros(2)}), "more"),
        (lambda t, h, c: t.update({"normaliser.mean": torch.zeros(3)}), "normaliser does not fit"),
        (lambda t, h, c: t.pop("piano.key"), "not a modal piano"),
        (lambda t, h, c: t.update({"piano.decay": torch.zeros(3)}), "arrays do not fit together"),
    ],
)
def test_a_voice_that_does_not_fit_is_refused(voice_file, change, message):
    path, rewrite = voice_file
    rewrite()
    load_voice(path)
    rewrite(change)
    assert message in refusal(path)


def test_a_voice_that_was_written_when_processes_were_a_parameter_loads(voice_file):
    path, rewrite = voice_file
    expected = load_voice(path).config
    rewrite(lambda tensors, header, config: config["features"].update(workers=4))
    assert load_voice(path).config == expected
    save_voice(path, load_voice(path), {})
    assert "workers" not in header_of(path)["config"]["features"]


@pytest.mark.parametrize("metadata", [None, {}, {"diffsynth voice 2": "{}"}, {FORMAT: "{"}, {FORMAT: "[]"}])
def test_a_file_of_another_kind_is_refused(voice_file, metadata):
    path, _ = voice_file
    save_file(load_file(path), str(path), metadata)
    assert refusal(path) == f"{path} is not a diffsynth voice"
    with pytest.raises(UserError, match="is not a diffsynth voice"):
        read_card(path)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("model", ["lstm", "s6"])
@pytest.mark.parametrize("name", released_voices(WEIGHTS))
def test_released_voices_are_what_the_parameters_beside_them_make(name, model, block):
    params = load_params(WEIGHTS / name / "params.yaml")
    path, first = (WEIGHTS / name / str(size) / f"{model}.safetensors" for size in (block, BLOCKS[0]))
    assert path.stat().st_size <= 16 * 2**20
    voice, card = load_voice(path), read_card(path)
    config = {"objective": params.diffusion.objective, "features": params.features}
    assert voice.config == GainConfig(model, block, params.audio, params.model(model), **config)
    assert (voice.config.audio.sample_rate, voice.piano.channels) == (48000, 2)
    train = dataclasses.asdict(params.train)
    if path != first:  # fine-tuned, for 40 steps
        assert card["init_from"] == {"name": first.name, "sha256": sha256(first)}
        train |= {"steps": 40, "learning_rate": 1e-3}
    assert card["train"] == train
    assert card["diffusion"] == dataclasses.asdict(params.diffusion)


def test_the_default_is_one_of_the_released_voices():
    assert RELEASED_VOICE in released_voices(WEIGHTS) == ["grand", "studio"]
