"""`diffsynth render`: the samples of the engine in a file, or one line that says why not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from diffsynth.audio.files import read_audio
from diffsynth.benchmark.pieces import cut
from diffsynth.midi.events import CONTROL, SUSTAIN, make_events
from diffsynth.midi.files import read_midi, write_midi
from diffsynth.synthesis.config import RELEASED_VOICE
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.weights import load_voice, save_voice

ROOT = Path(__file__).parents[2]
RATE = 24000
VARIANT = ["--model", "lstm", "--block", 1024]


def weights_of(folder, model="lstm"):
    return folder / "models" / "1024" / f"{model}.safetensors"


@pytest.fixture(scope="module")
def midi(tmp_path_factory):
    """The first seconds of a demo performance as a MIDI file; at its end keys and pedal come up."""
    events = cut(read_midi(ROOT / "data" / "demo" / "music_12.mid"), 1.5)
    path = tmp_path_factory.mktemp("midi") / "music.mid"
    write_midi(path, np.concatenate([events, make_events([(1.5, CONTROL, SUSTAIN, 0)])]))
    return path


@pytest.mark.parametrize("model", ["lstm", "s6"])
@pytest.mark.parametrize("name", ["out.wav", "deep/er/out.FLAC"])
def test_render_plays_a_midi_file(project, diffused, midi, tmp_path, capsys, model, name):
    options = ["--model", model, "--block", 1024, "--seed", 4, "--steps", 2]
    assert project.run("render", midi, tmp_path / name, *options, "--models", diffused) == 0
    audio, rate = read_audio(tmp_path / name)
    expected = render(Synthesizer(load_voice(weights_of(diffused.parent, model)), 2, 4), read_midi(midi))
    assert rate == RATE
    np.testing.assert_allclose(audio, expected.clip(-1, 1), atol=1.01 / 32768)
    assert capsys.readouterr().out.startswith(f"{tmp_path / name}: {len(audio) / RATE:.1f} s at RTF ")


def test_render_prefers_the_given_to_the_trained_to_the_released(project, trained, midi, tmp_path, capsys):
    given, released = (
        tmp_path / "given.safetensors",
        tmp_path / "weights" / RELEASED_VOICE / "1024" / "lstm.safetensors",
    )
    voice = load_voice(weights_of(trained))
    softer = dataclasses.replace(voice.piano, amplitude=0.5 * voice.piano.amplitude)
    for path in (given, released):
        save_voice(path, dataclasses.replace(voice, piano=softer), {})
    played = {}
    for name, options in {
        "trained": ["--models", trained / "models", "--released", tmp_path / "weights"],
        "released": ["--models", tmp_path / "none", "--released", tmp_path / "weights"],
        "given": ["--models", trained / "models", "--weights", given],
    }.items():
        assert project.run("render", midi, tmp_path / f"{name}.wav", *VARIANT, *options) == 0
        played[name] = (tmp_path / f"{name}.wav").read_bytes()
        files = {"trained": weights_of(trained), "released": released, "given": given}
        origin = "trained here" if name == "trained" else name
        assert capsys.readouterr().out.endswith(f" by {files[name]} ({origin})\n")
    assert played["given"] == played["released"] != played["trained"]


def test_render_says_what_is_clipped(project, trained, midi, tmp_path, capsys):
    voice = load_voice(weights_of(trained))
    loud = dataclasses.replace(
        voice, piano=dataclasses.replace(voice.piano, amplitude=1e3 * voice.piano.amplitude)
    )
    save_voice(tmp_path / "loud.safetensors", loud, {})
    out = tmp_path / "loud.wav"
    assert project.run("render", midi, out, "--weights", tmp_path / "loud.safetensors") == 0
    clipped = int((np.abs(render(Synthesizer(loud), read_midi(midi))) > 1).sum())
    assert clipped > 100
    assert capsys.readouterr().out.endswith(f", {clipped} samples clipped\n")
    assert np.abs(read_audio(out)[0]).max() <= 1


def bad_midi(folder, midi, kind):
    path = folder / f"{kind}.mid"
    if kind == "empty":
        write_midi(path, read_midi(midi)[:0])
    elif kind != "missing":
        path.write_bytes({"text": b"a text\n" * 20, "nothing": b""}[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "does not exist"),
        ("text", "is not a readable MIDI file:"),
        ("nothing", "is not a readable MIDI file:"),
        ("empty", "holds no piano notes"),
    ],
)
def test_a_midi_file_that_cannot_be_played_is_named(trained, midi, refuse, tmp_path, kind, message):
    path = bad_midi(tmp_path, midi, kind)
    error = refuse("render", path, "new/out.wav", *VARIANT, "--models", trained / "models")
    assert error.startswith(f"{path} {message}")
    assert not error.endswith(":")


def test_what_is_left_of_a_damaged_file_is_played_and_said_once(project, trained, midi, tmp_path, capsys):
    whole, path = midi.read_bytes(), tmp_path / "half.mid"
    path.write_bytes(whole[: len(whole) // 2])
    assert project.run("render", path, tmp_path / "a.wav", *VARIANT, "--models", trained / "models") == 0
    assert capsys.readouterr().err.splitlines()[0] == f"{path}: track 1 is cut short"


def test_a_render_that_cannot_be_written_is_named(trained, midi, refuse, tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.wav").mkdir()
    models = ["--models", trained / "models"]
    problem = "cannot write file/out.wav: Not a directory"
    assert refuse("render", midi, "file/out.wav", *VARIANT, *models) == problem
    assert refuse("render", midi, "out.mp3", *VARIANT, *models) == "out.mp3 must end in .wav or .flac"
    assert refuse("render", midi, "out", *VARIANT, *models) == "out must end in .wav or .flac"
    assert refuse("render", midi, "folder.wav", *VARIANT, *models) == "folder.wav is a folder"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "gru"], "unknown model 'gru': choose one of lstm, s6, unet"),
        (
            ["--model", "unet", "--block", 512],
            "no weights for unet at 512: run `diffsynth train --model unet --block 512` first",
        ),
        (["--block", 100], "unknown block 100: choose one of 512, 1024, 2048, 4096"),
        (["--block", 4096], "no weights for lstm at 4096: run `dvc repro train@lstm-4096` first"),
        (["--weights", "mine.safetensors"], "mine.safetensors does not exist"),
        (["--weights", "params.yaml"], "params.yaml is not a safetensors file: "),
        (["--steps", 0], "Invalid value for '--steps': Input should be greater than or equal to 1"),
        (["--seed", -1], "Invalid value for '--seed': Input should be greater than or equal to 0"),
    ],
)
def test_a_voice_that_cannot_be_is_named(trained, midi, refuse, options, message):
    folders = ["--models", trained / "models", "--released", "none"]
    assert refuse("render", midi, "out.wav", *VARIANT, *folders, *options).startswith(message)


def test_a_voice_that_does_not_fit_is_one_line(trained, midi, refuse, tmp_path):
    voice = load_voice(weights_of(trained))
    wider = dataclasses.replace(voice.config.network, units=14)
    wrong = dataclasses.replace(voice, config=dataclasses.replace(voice.config, network=wider))
    save_voice(tmp_path / "wrong.safetensors", wrong, {})
    error = refuse("render", midi, "out.wav", "--weights", "wrong.safetensors")
    assert error.startswith("wrong.safetensors does not hold what its header describes: ")
