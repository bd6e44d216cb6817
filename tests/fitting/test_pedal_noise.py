"""The knock of the sustain pedal: found where there is one, and not where there is none."""

from dataclasses import replace

import numpy as np
import pytest

from diffsynth.datasets.composer.generator import generate
from diffsynth.fitting.attack import with_modes
from diffsynth.fitting.key_modes import remainder
from diffsynth.fitting.pedal_noise import add_knocks
from diffsynth.fitting.strokes import find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.midi.dampers import PEDAL_FALLS, PEDAL_RISES
from diffsynth.midi.events import CONTROL, KEYS, SUSTAIN, make_events, to_samples
from diffsynth.piano.playing import play_whole

RATE, SECONDS = 24000, 60


def knocking(piano):
    """The piano with a pedal that knocks: 0.02 high as it falls, half of that as it rises."""
    turn = 2j * np.pi
    fall = np.array([-25 + turn * 70, -60 + turn * 210, -90 + turn * 500]), np.array([0.02, 0.01j, 0.006])
    rise = np.array([-35 + turn * 110, -80 + turn * 330]), np.array([0.01j, 0.005])
    return with_modes(piano, {PEDAL_FALLS: fall, PEDAL_RISES: rise})


@pytest.fixture(scope="module")
def music():
    """A minute of the generator, the pedal moving twice a second."""
    notes = generate(4, float(SECONDS))
    notes = notes[notes["kind"] != CONTROL]
    moves = [(0.31 + 0.5 * i, CONTROL, SUSTAIN, 127 * (i % 2 == 0)) for i in range(2 * SECONDS - 2)]
    events = np.concatenate([notes, make_events(moves)])
    return to_samples(events[np.argsort(events["time"], kind="stable")], RATE)


def recording(piano, events):
    audio = play_whole(piano, events, RATE, 128, SECONDS * RATE)
    noise = np.random.default_rng(1).standard_normal(len(audio)).astype(np.float32)
    return Take(audio + np.float32(3e-4) * noise, events, RATE)


def detuned(piano):
    """What a fit may have got wrong of the keys."""
    random = np.random.default_rng(2)
    error = 1 + 0.05 * (random.standard_normal(len(piano.key)) + 1j * random.standard_normal(len(piano.key)))
    return replace(piano, amplitude=piano.amplitude * error)


def test_a_knock_is_found_under_music(piano, music):
    truth = knocking(piano)
    found = add_knocks(detuned(piano), [recording(truth, music)], 10000.0)
    time = np.arange(int(0.1 * RATE)) / RATE
    for source in (PEDAL_FALLS, PEDAL_RISES):
        heard, meant = (
            np.real(
                np.exp(time[:, None] * (2j * np.pi * p.frequency - p.decay)[p.key == source])
                @ p.amplitude[p.key == source]
            )
            for p in (found, truth)
        )
        assert np.linalg.norm(heard - meant) < 0.35 * np.linalg.norm(meant)
    np.testing.assert_array_equal(found.frequency[found.key < KEYS], piano.frequency)


def test_a_silent_pedal_stays_silent(piano, music):
    wrong = detuned(piano)
    assert not add_knocks(wrong, [recording(piano, music)], 10000.0).knocks


def test_too_few_moves_tell_nothing(piano, music):
    few = music[music["position"] < 10 * RATE]
    assert not add_knocks(piano, [recording(knocking(piano), few)], 10000.0).knocks


def test_the_bank_and_strokes_agree_on_knocks(piano, music):
    truth = knocking(piano)
    audio = play_whole(truth, music, RATE, 128, SECONDS * RATE)
    silent = play_whole(piano, music, RATE, 128, SECONDS * RATE)
    difference = Take(audio - silent, music, RATE)
    alone = replace(truth, amplitude=np.where(truth.key < KEYS, 0, truth.amplitude))
    (rest,) = remainder(alone, [difference], find_strokes([difference], alone))
    assert np.abs(difference.audio).max() > 0.01
    np.testing.assert_allclose(rest, 0, atol=1e-5)
