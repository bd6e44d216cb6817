"""The benchmark: real rows from real processes, and ratios by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from diffsynth.comparison.benchmark import Setting, add_ratios, bench_file, bench_voice, settings
from diffsynth.synthesis.config import RELEASED_VOICE
from diffsynth.synthesis.synthesizer import NO_EVENTS, Synthesizer
from diffsynth.synthesis.voice_files import VoiceFile
from diffsynth.synthesis.weights import save_voice
from pipeline.app import run

KEYS = {"model", "block", "sample_rate", "threads", "backend", "rtf", "p50_ms", "p95_ms", "p99_ms"}
KEYS |= {"channels", "peak_mb", "params", "times_faster", "voice"}


@pytest.fixture(scope="module")
def voices(make_voice, tmp_path_factory):
    """A folder of small voices of all three models."""
    folder = tmp_path_factory.mktemp("voices")
    for model in ("lstm", "s6", "unet"):
        save_voice(folder / RELEASED_VOICE / "512" / f"{model}.safetensors", make_voice(model), {})
    return folder


def test_the_command_measures_every_row(voices, make_voice, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no voice was trained
    table, picture = tmp_path / "rows.json", tmp_path / "rtf.png"
    options = ["--models", "lstm,unet", "--blocks", "512", "--rates", "24000,48000", "--threads", "1"]
    options += ["--backends", "torch", "--seconds", "0.3", "--released", str(voices)]
    assert run(["bench", *options, "--json", str(table), "--plot", str(picture)]) == 0
    rows = json.loads(table.read_text())["rows"]
    assert [(row["model"], row["sample_rate"]) for row in rows] == [
        ("lstm", 24000),
        ("unet", 24000),
        ("lstm", 48000),
        ("unet", 48000),
    ]
    for row in rows:
        assert set(row) == KEYS
        assert (row["block"], row["threads"], row["backend"]) == (512, 1, "torch")
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["rtf"] > 0.2 * row["p50_ms"] * row["sample_rate"] / 512 / 1000
        assert row["params"] == sum(p.numel() for p in make_voice(row["model"]).denoiser.parameters())
        assert 50 < row["peak_mb"] < 5000
        assert row["channels"] == 1
    assert rows[1]["times_faster"] == rows[3]["times_faster"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    output = capsys.readouterr()
    for model in ("lstm", "unet"):
        assert f"{model} at 512: {voices}/{RELEASED_VOICE}/512/{model}.safetensors (released)\n" in output.err
    lines = output.out.splitlines()
    assert len(lines) == 1 + len(rows)
    assert lines[0].split()[:3] == ["model", "block", "Hz"]


def test_rows_that_compare_are_in_one_group():
    groups = settings(["lstm", "unet"], [512, 1024], [24000, 48000], [1], ["torch", "onnx"])
    assert len(groups) == 4
    for group in groups:
        assert len({(setting.block, setting.sample_rate, setting.threads) for setting in group}) == 1
        assert {(setting.model, setting.backend) for setting in group} == {
            (model, backend) for model in ("lstm", "unet") for backend in ("torch", "onnx")
        }


def test_ratios_are_to_the_unet_under_the_same_conditions():
    def row(model, block, backend, rtf):
        return {
            "model": model,
            "block": block,
            "sample_rate": 24000,
            "threads": 1,
            "backend": backend,
            "rtf": rtf,
        }

    rows = [
        row("s6", 512, "torch", 0.1),
        row("s6", 512, "onnx", 0.05),
        row("unet", 512, "torch", 5.0),
        row("unet", 512, "onnx", 4.0),
        row("s6", 1024, "torch", 0.1),
    ]
    add_ratios(rows)
    assert [r["times_faster"] for r in rows] == [50, 100, 1, 1.2, None]


def test_a_voice_at_twice_the_rate_has_an_octave_more(voices, make_voice):
    file = bench_file(Setting("s6", 512, 48000, 1, "torch"), voices / "none", voices)
    assert str(file) == f"{voices}/{RELEASED_VOICE}/512/s6.safetensors (released)"
    voice = bench_voice(Setting("s6", 512, 48000, 1, "torch"), file)
    piano = make_voice("s6").piano
    assert (voice.config.audio.sample_rate, voice.config.audio.frame) == (48000, 128)
    high = piano.frequency > piano.frequency.max() / 2
    assert len(voice.piano.key) == len(piano.key) + high.sum()
    np.testing.assert_allclose(voice.piano.frequency.max(), 2 * piano.frequency.max())
    assert (np.diff(voice.piano.key) >= 0).all()
    again = bench_voice(Setting("s6", 512, 24000, 1, "torch"), file)
    np.testing.assert_array_equal(again.piano.frequency, piano.frequency)


def test_a_voice_at_half_the_rate_lacks_an_octave(make_voice, tmp_path):
    mono = make_voice("s6")
    modes = len(mono.piano.key)
    piano = replace(mono.piano, image=np.exp(1j * np.arange(2 * modes)).reshape(2, modes))
    audio = replace(mono.config.audio, channels=2)
    stereo = replace(mono, config=replace(mono.config, audio=audio), piano=piano)
    save_voice(tmp_path / "s6.safetensors", stereo, {})
    voice = bench_voice(
        Setting("s6", 512, 12000, 1, "torch"), VoiceFile(tmp_path / "s6.safetensors", "given")
    )
    low = piano.frequency <= piano.frequency.max() / 2
    assert 0 < low.sum() < modes
    for name in ("key", "frequency", "amplitude"):
        np.testing.assert_array_equal(getattr(voice.piano, name), getattr(piano, name)[low])
    np.testing.assert_array_equal(voice.piano.image, piano.image[:, low])
    assert Synthesizer(voice).process(NO_EVENTS).shape == (512, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "gru"], "unknown model 'gru'"),
        (["--blocks", "500"], "unknown block 500"),
        (["--rates", "fast"], "--rates takes numbers with commas between them, not 'fast'"),
        (["--threads", "0"], "--threads must be positive"),
        (["--backends", "tflite"], "unknown backend 'tflite'"),
        (["--models", "s6", "--released", "nowhere", "--trained", "nowhere"], "no weights for s6 at 512"),
    ],
)
def test_wrong_input(options, message, capsys):
    assert run(["bench", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "path", "message"),
    [
        ("--json", "file/rows.json", "cannot write file/rows.json: Not a directory"),
        ("--plot", "file/rtf.png", "cannot write file/rtf.png: Not a directory"),
        ("--json", ".", ". is a folder"),
        ("--plot", "rtf.txt", "rtf.txt must end in .png"),
    ],
)
def test_a_result_that_cannot_be_written_is_told_before_anything_is_measured(
    option, path, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("diffsynth.comparison.benchmark.run_group", None)
    assert run(["bench", option, path]) == 2
    assert capsys.readouterr() == ("", f"diffsynth: {message}\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
