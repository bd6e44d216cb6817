"""Stereo from recordings to evaluation: a piano whose keys lie from left to right, played and learned."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from support.noisy_piano import with_noise
from support.small_project import SMALL, torch_as_it_was
from support.source_files import ROOT

from diffsynth.audio.files import read_audio, write_audio
from diffsynth.datasets.composer.generator import first_seconds
from diffsynth.datasets.composer.repertoire import improvise
from diffsynth.evaluation.metrics import magnitudes
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.midi.files import write_midi
from diffsynth.piano.piano import save_piano
from diffsynth.piano.playing import play_whole
from diffsynth.representation.feature_shards import FeatureFolder
from diffsynth.runs.files import read_json
from diffsynth.synthesis.weights import load_voice
from pipeline.app import run

RATE = 24000
LOW, HIGH = 36, 88
PLACES = 12.0  # dB by which the lowest key is louder on the left, and the highest on the right
VOICE = ("lstm", 1024)
STAGES = ["download", "align", "shard", "fit", "features"]


def placed(piano):
    """The piano with its bass on the left and its treble on the right."""
    louder = PLACES * (2 * piano.key / 87 - 1)  # dB, right over left
    right = 10 ** (louder / 20) / np.sqrt(1 + 10 ** (louder / 10))
    image = np.sqrt(2) * np.stack([np.sqrt(1 - right**2), right])
    return replace(with_noise(piano, floor=1e-8, strike=1e-7), image=image)


def performance(seed):
    """Music, then a low key alone, then a high one."""
    ends = [
        (8.6, NOTE_ON, LOW, 80),
        (9.0, NOTE_OFF, LOW, 0),
        (9.4, NOTE_ON, HIGH, 80),
        (9.8, NOTE_OFF, HIGH, 0),
    ]
    music = first_seconds(improvise(seed, 8.0), 8.0)
    return np.concatenate([music[music["time"] < 8.2], make_events(ends)])


def balance(audio):
    """dB by which the right is louder than the left in both keys at the end of a performance."""
    parts = [audio[int(begin * RATE) : int((begin + 0.3) * RATE)] for begin in (8.6, 9.4)]
    energies = np.array([(part**2).sum(axis=0) for part in parts])
    return 10 * np.log10(energies[:, 1] / energies[:, 0])


@pytest.fixture(scope="module")
def truth(piano):
    return placed(piano)


@pytest.fixture(scope="module")
def stereo(tmp_path_factory, truth, fewer_frames):
    """A project that has learned a voice of two channels, and played and evaluated it."""
    folder = tmp_path_factory.mktemp("stereo")
    for seed in range(3):
        events = performance(seed)
        audio = play_whole(truth, to_samples(events, RATE), RATE, 128, int(10.5 * RATE))
        write_audio(folder / "recordings" / f"{seed}.flac", audio, RATE)
        write_midi(folder / "recordings" / f"{seed}.mid", events)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in SMALL.items():
        params[section] |= values
    params["dataset"] |= {"name": "folder", "root": "recordings"}
    params["audio"]["channels"] = 2
    params["fit"] |= {"partials": 6, "passes": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    model, block = VOICE
    variant = ["--model", model, "--block", str(block)]
    commands = [
        *([stage] for stage in STAGES),
        *([stage, *variant] for stage in ("train", "infer", "evaluate")),
    ]
    with pytest.MonkeyPatch.context() as patch, torch_as_it_was():
        patch.chdir(folder)
        for words in commands:
            assert run(words) == 0, words
    return folder


def test_every_stage_keeps_both_channels(stereo):
    for stage in ("aligned", "shards", "features"):
        assert read_json(stereo / "data" / stage / "index.json")["channels"] == 2
    voice = load_voice(stereo / "models" / "1024" / "lstm.safetensors")
    assert voice.config.audio.channels == voice.piano.channels == 2
    sounds = FeatureFolder(stereo / "data" / "features", "train").read_sounds(0, 0, 0, 8)
    assert sounds.shape == (8, 2 * 5, 512)  # the recording, modes of three ages, noise


def test_keys_are_where_they_were_recorded(stereo, truth):
    (path,) = (stereo / "results" / "renders" / "1024" / "lstm").glob("*.wav")
    played, rate = read_audio(path, 2)
    target, _ = read_audio(stereo / "data" / "aligned" / f"{path.stem}.flac", 2)
    assert rate == RATE
    wanted = PLACES * (2 * (np.array([LOW, HIGH]) - 21) / 87 - 1)
    np.testing.assert_allclose(balance(target), wanted, atol=1.0)  # noise lies in the middle
    np.testing.assert_allclose(balance(played), balance(target), atol=1.0)


def test_metrics_are_means_over_channels(stereo):
    (path,) = (stereo / "results" / "renders" / "1024" / "lstm").glob("*.wav")
    scores = read_json(stereo / "results" / "metrics" / "1024" / "lstm.json")["metrics"]
    target, _ = read_audio(stereo / "data" / "aligned" / f"{path.stem}.flac", 2)
    played, _ = read_audio(path, 2)
    loud = np.sqrt((target**2).mean() / (played[: len(target)] ** 2).mean())
    found = []
    for channel in (0, 1):
        pair = (target[:, channel], loud * played[: len(target), channel])
        sizes = [[magnitudes(one, size, size // 4) for one in pair] for size in (1024, 2048, 4096)]
        found.append(np.mean([np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in sizes]))
    assert scores["spectral_convergence"] == pytest.approx(np.mean(found), rel=1e-3)


def test_a_piano_of_other_channels_is_refused(stereo, tmp_path, capsys, piano):
    for name in ("shards", "features"):
        (tmp_path / name).symlink_to(stereo / "data" / name)
    (tmp_path / "fit").mkdir()
    save_piano(tmp_path / "fit" / "piano.safetensors", piano)
    with pytest.MonkeyPatch.context() as patch, torch_as_it_was():
        patch.chdir(stereo)
        assert run(["train", "--model", "s6", "--block", "1024", "--data-dir", str(tmp_path)]) == 2
    assert "audio.channels is 2, the piano has 1" in capsys.readouterr().err
