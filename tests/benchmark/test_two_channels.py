"""Benchmarks of what has two channels."""

from pathlib import Path

import numpy as np
import pytest

from diffsynth.audio.files import read_audio, write_audio
from diffsynth.benchmark.measuring import How, common, measure_all
from diffsynth.benchmark.pieces import Piece, Stretch
from pipeline.params import load_params

RATE = 24000
SETTINGS = load_params(Path(__file__).parents[2] / "params.yaml").evaluate


def tones(seed):
    """[time, 2]: two seconds of tones that decay, of its own on each side."""
    rng, time = np.random.default_rng(seed), np.arange(2 * RATE) / RATE
    sides = []
    for _ in range(2):
        begins, hertz = rng.uniform(0, 1.8, 8), rng.uniform(200, 2000, 8)
        ages = np.maximum(time - begins[:, None], 0.0)
        sides.append((0.05 * np.sin(2 * np.pi * hertz[:, None] * ages) * np.exp(-5 * ages)).sum(axis=0))
    return np.stack(sides, axis=1).astype(np.float32)


@pytest.fixture
def piece(tmp_path):
    """A stereo recording, and renderings: the same, sides exchanged, and mono."""
    sound = tones(1)
    write_audio(tmp_path / "a.flac", sound, RATE)
    for name, rendered in (("same", sound), ("exchanged", sound[:, ::-1]), ("mono", sound.mean(axis=1))):
        write_audio(tmp_path / "out" / "renders" / name / "a.wav", rendered, RATE)
    return Piece("a", "a", tmp_path / "a.mid", tmp_path / "a.mid", tmp_path / "a.flac", 2.0)


def measured(piece, channels):
    how = How(RATE, channels, Stretch(0.0), 0.06, SETTINGS)
    found = measure_all(["same", "exchanged", "mono"], [piece], piece.audio.parent / "out", how)
    return {key: each.scores["a"]["spectral_convergence"] for key, each in found.items()}


def test_each_side_is_compared_with_its_own(piece):
    both = measured(piece, 2)
    assert both["recording"] == 0
    assert both["same"] < 2e-3  # WAV has 16 bits
    assert both["exchanged"] > 0.8
    assert 0.1 < both["mono"] < both["exchanged"]
    played, rate = read_audio(piece.audio.parent / "out" / "audio" / "mono" / "a.wav", 2)
    assert rate == RATE
    np.testing.assert_array_equal(played[:, 0], played[:, 1])
    mixed = measured(piece, 1)  # and nothing of the other comparison is taken for this one
    assert max(mixed["same"], mixed["mono"], mixed["exchanged"]) < 2e-3


def test_what_is_compared_is_what_all_recordings_and_a_voice_hold(piece, tmp_path):
    write_audio(tmp_path / "b.flac", tones(2)[:, 0], 44100)
    mono = Piece("b", "b", tmp_path / "b.mid", tmp_path / "b.mid", tmp_path / "b.flac", 1.0)
    assert common([(48000, 2), (24000, 1)], [piece]) == (RATE, 2)
    assert common([(48000, 1)], [piece]) == (RATE, 1)
    assert common([], [piece]) == (RATE, 1)
    assert common([(48000, 2)], [piece, mono]) == (RATE, 1)
    assert common([(96000, 2)], [mono]) == (44100, 1)
