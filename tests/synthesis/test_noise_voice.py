"""A voice whose piano has noise: it streams, ends, and is read again like any other."""

import numpy as np
import pytest
from support.block_playing import RATE, models, music, silence
from support.noisy_piano import with_noise

from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events
from diffsynth.synthesis.fading import LONGEST
from diffsynth.synthesis.synthesizer import Synthesizer, blocks_of, render
from diffsynth.synthesis.weights import load_voice, save_voice

FLOOR = 1e-8  # of 24 bands: -66 dB together


@pytest.fixture
def noisy_voice(make_voice, piano):
    piano = with_noise(piano, floor=FLOOR)
    # Gains of a few dB, as a trained network has them.
    return lambda model="lstm", block=512: make_voice(model, block, piano, level=0.15)


@models
def test_a_restored_state_and_a_file_play_the_same_samples(noisy_voice, tmp_path, model):
    voice = noisy_voice(model)
    save_voice(tmp_path / "voice.safetensors", voice, {})
    whole = render(Synthesizer(voice), music())
    again, other = Synthesizer(load_voice(tmp_path / "voice.safetensors")), Synthesizer(voice)
    np.testing.assert_array_equal(render(again, music()), whole)
    parts = blocks_of(music(), RATE, 512, len(whole))
    first = np.concatenate([again.process(part) for part in (again.reset(), parts[:40])[1]])
    other.restore(again.state())
    rest = np.concatenate([other.process(part) for part in parts[40:]])
    np.testing.assert_array_equal(np.concatenate([first, rest]), whole)


def test_the_floor_is_all_that_is_heard_before_the_first_note(noisy_voice):
    synthesizer = Synthesizer(noisy_voice())
    before = silence(synthesizer, 100)
    gain = np.exp(2 * 0.5)  # a trained network may change it by a few dB
    assert 24 * FLOOR / gain < np.mean(before**2) < 24 * FLOOR * gain
    assert np.abs(before).max() < synthesizer.rest * np.sqrt(gain)


@models
@pytest.mark.parametrize("raised", [-1.0, 1.5])
def test_a_network_that_turns_the_floor_up_or_down_ends_where_it_is_left(noisy_voice, model, raised):
    voice = noisy_voice(model)
    voice.normaliser.mean[:] += raised
    note = make_events([(0.1, NOTE_ON, 60, 100), (0.4, NOTE_OFF, 60, 0)])
    audio = render(Synthesizer(voice), note)
    assert 1.0 < len(audio) / RATE < LONGEST / 4
    floor = 24 * FLOOR * np.exp(2 * raised)
    assert floor / 4 < np.mean(audio[-RATE // 4 :] ** 2) < 4 * floor


def test_a_performance_ends_where_only_the_floor_is_left(noisy_voice):
    note = make_events([(0.1, NOTE_ON, 60, 100), (0.4, NOTE_OFF, 60, 0)])
    audio = render(Synthesizer(noisy_voice()), note)
    assert 1.0 < len(audio) / RATE < LONGEST / 4
    tail = audio[-RATE // 4 :]
    assert 0 < np.mean(tail**2) < 4 * 24 * FLOOR
