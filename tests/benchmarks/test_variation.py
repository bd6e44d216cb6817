"""Figures of what a mean cannot have, on sounds of which they are known."""

import numpy as np
import pytest
from scipy.signal import lfilter
from variation import OCTAVES, distance, fluctuation, levels, measure, strikes

from diffsynth.audio.files import write_audio
from diffsynth.datasets.folder import find_pairs
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events, to_notes
from diffsynth.midi.files import write_midi

RATE = 16000
APART = 64 * 128  # samples from strike to strike


def noise(seed, seconds=12.0, rise=0.0, hz=3.0):
    """White noise whose level in dB moves by a sine of so many dB."""
    time = np.arange(int(seconds * RATE)) / RATE
    swing = 10 ** (rise * np.sin(2 * np.pi * hz * time) / 20)
    return (0.1 * swing * np.random.default_rng(seed).standard_normal(len(time))).astype(np.float32)


def test_equal_sounds_fluctuate_alike_and_louder_swings_more():
    even, swings = (levels(noise(0, rise=rise), RATE, 1e-9) for rise in (0.0, 6.0))
    np.testing.assert_allclose(fluctuation(even, even, RATE), 0.0, atol=1e-9)
    more = fluctuation(even, swings, RATE)
    assert len(more) == len(OCTAVES) - 1
    assert more.argmax() == 2  # 2 to 4 Hz
    assert more[2] > 4.0
    np.testing.assert_allclose(more[[0, 4, 5]], 0.0, atol=0.7)
    twice = even.mean(-1, keepdims=True) + 2 * (even - even.mean(-1, keepdims=True))
    np.testing.assert_allclose(fluctuation(even, twice, RATE), 20 * np.log10(2), atol=1e-4)


def played(seed, scatter, seconds=6.0):
    """Strikes of one key every 64 frames: decaying noise, coloured anew each time by `scatter`."""
    generator = np.random.default_rng(seed)
    audio = np.zeros(int(seconds * RATE), np.float32)
    shape = np.exp(-np.arange(APART) / (0.1 * RATE))
    same = np.random.default_rng(7).standard_normal(APART)
    for begin in range(APART // 2, len(audio) - APART, APART):
        colour = [1.0, *(scatter * generator.standard_normal(8))]
        audio[begin : begin + APART] += (0.05 * shape * lfilter(colour, 1.0, same)).astype(np.float32)
    return audio


def events():
    rows = []
    for strike in range(10):
        onset = (strike + 0.5) * APART / RATE
        rows += [(onset, NOTE_ON, 60, 64), (onset + 0.4, NOTE_OFF, 60, 0)]
    return make_events(rows)


def test_strikes_that_are_alike_do_not_differ_and_others_do():
    notes = to_notes(events())
    found = [strikes(levels(played(0, s), RATE, 1e-9), notes, 0.0, RATE) for s in (0.0, 0.2, 0.4)]
    assert found[0] < 0.1
    assert found[0] < 0.5 * found[1] < found[1] < found[2]
    louder = notes.copy()
    louder["velocity"] = 10 * np.arange(len(notes))
    assert np.isnan(strikes(levels(played(0, 0.2), RATE, 1e-9), louder, 0.0, RATE))


def test_the_energy_score_prefers_draws_to_one_of_them_twice(tmp_path):
    recordings, first, second = (tmp_path / name for name in ("recordings", "first", "second"))
    for folder in (recordings, first, second):
        folder.mkdir()
    sounds = [played(seed, 0.4) for seed in range(3)]
    write_audio(recordings / "piece.flac", sounds[0], RATE)
    write_midi(recordings / "piece.mid", events())
    write_audio(first / "piece.wav", sounds[1], RATE)
    write_audio(second / "piece.wav", sounds[2], RATE)
    (pair,) = find_pairs(recordings)[0]
    two, same = (measure(pair, [first, other], 0.0, 6.0) for other in (second, first))
    assert same["draws"] == pytest.approx(0.0, abs=1e-6)
    assert same["energy"] == pytest.approx(same["log-mel"])
    assert two["draws"] == pytest.approx(distance(sounds[1], sounds[2], RATE), rel=0.1)
    assert two["energy"] < 0.7 * same["energy"]
