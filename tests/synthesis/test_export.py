"""Exported voices: the same audio from ONNX Runtime, in the engine and in a host that knows nothing of it."""

import functools
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from support.noisy_piano import with_noise

from diffsynth.errors import UserError
from diffsynth.fitting.attack import with_modes
from diffsynth.midi.dampers import PEDAL_FALLS, PEDAL_RISES
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SOSTENUTO, SUSTAIN, make_events
from diffsynth.synthesis.config import RELEASED_VOICE
from diffsynth.synthesis.export import export_onnx
from diffsynth.synthesis.onnx_step import OnnxStep
from diffsynth.synthesis.synthesizer import Synthesizer, blocks_of
from diffsynth.synthesis.weights import load_voice
from pipeline.app import run

ROOT = Path(__file__).parents[2]
HOST = ROOT / "examples" / "onnx_host.py"
RATE = 24000
KNOCKS = {
    PEDAL_FALLS: (np.array([-40 + 2j * np.pi * 90]), np.array([0.1 + 0.1j])),
    PEDAL_RISES: (np.array([-60 + 2j * np.pi * 150]), np.array([0.2j])),
}


@pytest.fixture(scope="module")
def host_class():
    """`Host` of the example, which is a script beside its other half and not part of the package."""
    sys.path.append(str(HOST.parent))
    spec = importlib.util.spec_from_file_location("onnx_host", HOST)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Host


RELEASED = ROOT / "weights" / RELEASED_VOICE / "512" / "lstm.safetensors"


def stereo(voice):
    """A voice of two channels, in which each mode and band of noise is as loud and late as chance has it."""
    generator, piano = np.random.default_rng(3), voice.piano
    real, imaginary = generator.standard_normal((2, 2, len(piano.key)))
    noise = replace(piano.noise, image=generator.uniform(0.5, 1.5, (2, len(piano.noise.centre))))
    audio = replace(voice.config.audio, channels=2)
    piano = replace(piano, image=real + 1j * imaginary, noise=noise)
    return replace(voice, config=replace(voice.config, audio=audio), piano=piano)


@pytest.fixture(
    scope="module",
    params=[("lstm", 512), ("s6", 1024), ("lstm", 512, "stereo")],
    ids=lambda variant: "-".join(map(str, variant)),
)
def exported(request, make_voice, tmp_path_factory):
    """A voice and its ONNX file; that of S6 is of the older kind, whose noise shares the gains of modes."""
    voice = make_voice(*request.param[:2], shared=request.param[0] == "s6")
    if request.param[0] == "lstm":
        noisy = with_noise(replace(voice.piano, rise=600.0), floor=1e-5, strike=1e-4)
        voice = replace(voice, piano=noisy)
        voice = stereo(voice) if request.param[2:] else voice
    else:
        sampled = replace(voice.piano, sampled=True, jitter=4e-4, softest=40.0, colour=np.linspace(0, 2, 6))
        voice = replace(voice, piano=with_noise(with_modes(sampled, KNOCKS), floor=1e-5, strike=1e-4))
    path = tmp_path_factory.mktemp("export") / "voice.onnx"
    return voice, path, export_onnx(voice, path)


@pytest.fixture(scope="module")
def published(make_voice, tmp_path_factory):
    """A voice of the published network by its block and steps, its ONNX file and what is said of it."""

    @functools.cache  # the exporter takes seconds
    def export(block, steps):
        voice, path = make_voice("unet", block), tmp_path_factory.mktemp("unet") / "unet.onnx"
        return voice, path, export_onnx(voice, path, steps)

    return export


def music(seed, seconds):
    """Strikes, releases and pedals at random."""
    rng = np.random.default_rng(seed)
    rows = [(0.0, NOTE_ON, 60, 80)]
    for time in np.sort(rng.uniform(0, seconds, round(40 * seconds))):
        kind = int(rng.choice([NOTE_OFF, CONTROL, NOTE_ON]))
        number = int(rng.choice([SUSTAIN, SOSTENUTO]) if kind == CONTROL else rng.integers(30, 100))
        rows.append((float(time), kind, number, int(rng.integers(1, 128))))
    return make_events(rows)


def test_the_engine_makes_the_same_audio_with_either_backend(exported):
    voice, path, _ = exported
    parts = blocks_of(music(0, 3.0), RATE, voice.config.block, 4 * RATE)
    mine, theirs = (
        np.concatenate([synthesizer.process(part) for part in parts])
        for synthesizer in (Synthesizer(voice), Synthesizer(voice, network=OnnxStep(path)))
    )
    assert np.abs(mine).max() > 0.1
    np.testing.assert_allclose(theirs, mine, atol=1e-5)


def test_a_state_with_the_memory_of_onnx_resumes_identically(exported):
    voice, path, _ = exported
    parts = blocks_of(music(1, 1.0), RATE, voice.config.block, RATE)
    synthesizer = Synthesizer(voice, network=OnnxStep(path))
    for part in parts[:5]:
        synthesizer.process(part)
    state = synthesizer.state()
    rest = [synthesizer.process(part) for part in parts[5:]]
    synthesizer.restore(state)
    np.testing.assert_array_equal([synthesizer.process(part) for part in parts[5:]], rest)


@pytest.mark.parametrize(("seed", "haste"), [(2, 1.0), (3, 1.0), (4, 8.0)])
def test_the_example_host_makes_the_audio_of_the_engine(exported, host_class, seed, haste):
    voice, path, _ = exported
    events, host, synthesizer = music(seed, 1.5), host_class(str(path)), Synthesizer(voice)
    notes = events["kind"] != CONTROL
    events["number"][notes] = 40 + events["number"][notes] % 8  # few keys, often struck again
    events["time"] /= haste  # at the last several times within a frame
    parts = blocks_of(events, RATE, voice.config.block, 2 * RATE)
    expected = np.concatenate([synthesizer.process(part) for part in parts])
    found = np.concatenate([host.process(part.tolist()) for part in parts])
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_file_describes_itself(exported):
    voice, path, about = exported
    session = onnxruntime.InferenceSession(str(path))
    entry = json.loads(session.get_modelmeta().custom_metadata_map["diffsynth"])
    assert {name: entry[name] for name in about} == about
    assert (entry["model"], entry["block"]) == (voice.config.model, voice.config.block)
    assert (entry["sample_rate"], entry["latency_samples"]) == (RATE, voice.config.block)
    assert {item.name: item.shape for item in session.get_inputs()} == entry["inputs"]
    assert {item.name: item.shape for item in session.get_outputs()} == entry["outputs"]
    onnx.checker.check_model(onnx.load(path), full_check=True)


def test_more_steps_of_the_sampler_can_be_exported(make_voice, tmp_path):
    voice = make_voice("lstm")
    one, three = Synthesizer(voice), Synthesizer(voice, steps=3)
    export_onnx(voice, tmp_path / "three.onnx", steps=3)
    other = Synthesizer(voice, steps=3, network=OnnxStep(tmp_path / "three.onnx"))
    events = blocks_of(music(4, 0.5), RATE, 512, 12288)
    few, many, theirs = (np.concatenate([s.process(e) for e in events]) for s in (one, three, other))
    np.testing.assert_allclose(theirs, many, atol=1e-5)
    assert np.abs(many - few).max() > 1e-3


@pytest.mark.parametrize(("block", "steps"), [(512, 2), (4096, 1)])
def test_the_published_network_makes_the_same_audio_exported(published, block, steps):
    voice, path, about = published(block, steps)
    half = block // 2
    frames, memory = [5, half], [1, 1, 5, half]
    assert about["inputs"] == {"condition": [88, half], "noise": frames, "memory_0": memory}
    assert about["outputs"] == {"x": frames, "next_memory_0": memory}
    assert (about["model"], about["block"], about["steps"]) == ("unet", block, steps)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    parts = blocks_of(music(5, 1.0), RATE, block, RATE)
    mine, theirs = (
        np.concatenate([synthesizer.process(part) for part in parts])
        for synthesizer in (Synthesizer(voice, steps), Synthesizer(voice, steps, network=OnnxStep(path)))
    )
    level = np.abs(mine).max()
    assert level > 1e-3
    np.testing.assert_allclose(theirs, mine, atol=1e-4 * level)


def test_the_example_host_knows_what_it_cannot_play(published, host_class):
    _, path, _ = published(512, 2)
    with pytest.raises(SystemExit, match="holds unet, which needs a host of its own"):
        host_class(str(path))


def test_the_example_host_refuses_a_file_of_an_older_format(exported, host_class, tmp_path):
    _, path, _ = exported
    model = onnx.load(path)
    entry = json.loads(model.metadata_props[0].value)
    del entry["arrays"]["noise_pedal_decay"]  # which format 4 lacked at first
    entry["format"] = "diffsynth network 4"
    onnx.helper.set_model_props(model, {"diffsynth": json.dumps(entry)})
    onnx.save(model, tmp_path / "older.onnx")
    with pytest.raises(
        SystemExit, match=r"older\.onnx is of another format, diffsynth network 4: export it again"
    ):
        host_class(str(tmp_path / "older.onnx"))


def test_the_example_runs_without_the_package(tmp_path, capsys):
    path = tmp_path / "voice.onnx"
    assert run(["export", str(path), "--weights", str(RELEASED)]) == 0
    assert "lstm at 512 samples, 48000 Hz" in capsys.readouterr().out
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['diffsynth', 'torch', 'scipy', 'librosa']));"
        f"sys.path.insert(0, {str(HOST.parent)!r});"  # as where a script is run by its name
        f"sys.argv = ['host', {str(path)!r}, 'out.wav']; import runpy;"
        f"runpy.run_path({str(HOST)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "out.wav: 5.0 s\n"), done.stderr
    import soundfile

    audio, rate = soundfile.read(tmp_path / "out.wav")
    assert rate == load_voice(RELEASED).config.audio.sample_rate
    assert 0.02 < np.abs(audio).max() < 1


def test_wrong_input(tmp_path, capsys):
    assert run(["export", str(tmp_path / "voice.wav")]) == 2
    assert capsys.readouterr().err == f"diffsynth: {tmp_path / 'voice.wav'} must end in .onnx\n"
    assert run(["export", str(tmp_path / "voice.onnx"), "--model", "gru"]) == 2
    assert "unknown model 'gru'" in capsys.readouterr().err
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(UserError, match=r"text\.onnx is not a readable ONNX file"):
        OnnxStep(tmp_path / "text.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["text.onnx"]
