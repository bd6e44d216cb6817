"""Strikes that rise, by the formula that they follow."""

from dataclasses import replace

import numpy as np
import pytest
from support.block_playing import music

from diffsynth.midi.events import NOTE_OFF, NOTE_ON, SAMPLE_EVENT, to_samples
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.playing import play_whole

RATE, FRAME = 24000, 128


def play_in_blocks(piano, events, length, frames, gain=1.0):
    bank, audio = Bank(piano, RATE, FRAME), []
    unity = np.full((frames + 1, bank.modes), gain, dtype=np.float32)
    for begin in range(0, length, frames * FRAME):
        part = events[(events["position"] >= begin) & (events["position"] < begin + frames * FRAME)].copy()
        part["position"] -= begin
        audio.append(bank.play(bank.process(part, frames), unity))
    return np.concatenate(audio)[:length]


@pytest.mark.parametrize("rise", [150.0, 1500.0])
@pytest.mark.parametrize("at", [0, 100, 127, 128, 500])
def test_a_strike_is_heard_times_what_has_risen(piano, rise, at):
    events = np.array([(at, NOTE_ON, 60, 64)], dtype=SAMPLE_EVENT)
    mine = piano.key == 39
    t = np.arange(4096 - at) / RATE
    pole = 2j * np.pi * piano.frequency[mine] - piano.decay[mine]
    expected = np.zeros(4096)
    expected[at:] = (np.exp(np.outer(t, pole)) @ piano.amplitude[mine]).real * -np.expm1(-rise * t)
    audio = play_whole(replace(piano, rise=rise), events, RATE, FRAME, 4096)
    np.testing.assert_allclose(audio, expected, atol=3e-4 * np.abs(piano.amplitude[mine]).sum())
    assert not audio[: at + 1].any()


@pytest.mark.parametrize("frames", [1, 4, 32])
def test_blocks_of_any_size_sound_the_same(piano, frames):
    risen, events = replace(piano, rise=300.0), to_samples(music(), RATE)
    length = 2 * RATE
    whole = play_whole(risen, events, RATE, FRAME, length)
    assert np.abs(whole - play_whole(piano, events, RATE, FRAME, length)).max() > 1e-3
    np.testing.assert_allclose(play_in_blocks(risen, events, length, frames), whole, atol=2e-6)
    np.testing.assert_allclose(play_in_blocks(risen, events, length, frames, 0.5), 0.5 * whole, atol=2e-6)


def test_without_a_rise_nothing_is_taken_away(piano):
    bank = Bank(piano, RATE, FRAME)
    assert bank.process(np.array([(3, NOTE_ON, 60, 64)], dtype=SAMPLE_EVENT), 4).rising == []


def test_a_state_that_is_restored_rises_on(piano):
    bank = Bank(replace(piano, rise=150.0), RATE, FRAME)
    unity = np.ones((2, bank.modes), dtype=np.float32)
    events = np.array(
        [(90, NOTE_ON, 60, 64), (120, NOTE_ON, 70, 90), (125, NOTE_OFF, 70, 0)], dtype=SAMPLE_EVENT
    )
    none = events[:0]
    bank.process(events, 1)
    state = bank.state()
    first = [bank.play(bank.process(none, 1), unity) for _ in range(12)]
    bank.reset()
    bank.restore(state)
    np.testing.assert_array_equal([bank.play(bank.process(none, 1), unity) for _ in range(12)], first)
