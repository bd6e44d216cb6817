"""Noise as sound: levels by value, streaming, and what drives it."""

import numpy as np
import pytest
from scipy.signal import welch
from support.block_playing import music
from support.noisy_piano import make_noise, with_noise

from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SAMPLE_EVENT, SUSTAIN, to_samples
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.noise import DECAYS, DRIVES
from diffsynth.piano.noise_bank import make_loops

RATE, FRAME = 24000, 128
SECONDS = FRAME / RATE


def levels_of(piano, events, frames, **levels):
    """[f + 1, b] at the frame borders of one block."""
    bank = Bank(with_noise(piano, **levels), RATE, FRAME)
    return bank.process(np.array(events, dtype=SAMPLE_EVENT), frames).noise


def noise_alone(bank, excitation, gain=None):
    """Audio of a block without its modes."""
    return bank.play(excitation, np.zeros((len(excitation.noise), bank.modes), dtype=np.float32), gain)


def test_every_loop_lies_in_its_band_and_has_a_power_of_one():
    noise = make_noise()
    loops = make_loops(noise.centre, RATE)
    assert len({len(loop) for loop in loops}) == len(loops)
    for band, loop in enumerate(loops):
        assert np.mean(loop**2) == pytest.approx(1, abs=1e-4)
        power = np.abs(np.fft.rfft(loop)) ** 2
        frequency = np.fft.rfftfreq(len(loop), 1 / RATE)
        low = noise.centre[band - 1] if band else 0
        inside = (frequency >= low) & (frequency <= noise.centre[min(band + 1, len(noise.centre) - 1)])
        assert power[inside].sum() > 0.999 * power.sum()


def test_the_floor_sounds_at_its_level_for_ever(piano):
    bank = Bank(with_noise(piano, floor=1e-6), RATE, FRAME)
    blocks = []
    for _ in range(60):
        excitation = bank.process(np.zeros(0, dtype=SAMPLE_EVENT), 32)
        np.testing.assert_allclose(excitation.noise, 1e-6)
        blocks.append(noise_alone(bank, excitation))
    audio = np.concatenate(blocks)
    assert np.mean(audio**2) == pytest.approx(24e-6, rel=0.02)
    # Bands are narrower below: 24 of them share 10 kHz, the lowest is 100 Hz wide, the highest 1 kHz.
    frequency, density = welch(audio, RATE, nperseg=4096)
    width = np.gradient(make_noise().centre)
    for band in (5, 12, 20):
        near = np.abs(frequency - make_noise().centre[band]) < width[band] / 4
        assert 10 * np.log10(density[near].mean() * width[band] / 1e-6) == pytest.approx(0, abs=1.0)
    first, second = audio[: 2 * RATE], audio[2 * RATE : 4 * RATE]
    assert np.corrcoef(first, second)[0, 1] < 0.2  # nothing that one hears repeat


def test_a_strike_is_heard_by_its_velocity_and_dies_away(piano):
    frames = 200
    soft, loud = (
        levels_of(piano, [(0, NOTE_ON, 60, velocity)], frames, floor=0.0, key_up=0.0, pedal=0.0)
        for velocity in (32, 64)
    )
    np.testing.assert_allclose(loud[1:], 2.0**3 * soft[1:], rtol=1e-6)  # exponent 1.5, as power
    assert not loud[0].any()
    age = SECONDS * np.arange(frames)
    strikes = DECAYS[np.array(DRIVES) == "strike"]
    expected = sum(-np.expm1(-2 * SECONDS / decay) * np.exp(-2 * age / decay) for decay in strikes)
    np.testing.assert_allclose(loud[1:, 3], 1e-7 * expected / SECONDS, rtol=1e-6)


def test_the_pedal_opens_the_noise_of_strikes_and_keys_make_theirs(piano):
    quiet = {"floor": 0.0, "strike": 0.0, "key_up": 0.0, "pedal": 0.0, "pedalled": 0.0}
    strike, up, down = (0, NOTE_ON, 60, 64), (300, NOTE_OFF, 60, 0), (0, CONTROL, SUSTAIN, 127)
    assert not levels_of(piano, [strike, up], 8, **quiet | {"pedalled": 1.0, "pedal": 1.0}).any()
    assert levels_of(piano, [down, strike], 8, **quiet | {"pedalled": 1.0})[1:].all()
    held = levels_of(piano, [down, strike, (1280, CONTROL, SUSTAIN, 0)], 40, **quiet | {"pedalled": 1.0})
    fall = np.diff(np.log(held[11:, 0]))  # faster than any memory by itself
    assert (fall < -2 * SECONDS / 0.1).all()
    assert held[12, 0] > 0.5 * held[10, 0]  # but not at once
    by_key = levels_of(piano, [strike, up], 8, **quiet | {"key_up": 1.0})
    assert not by_key[:3].any()  # until the frame in which the key comes up
    assert by_key[3:].all()
    by_pedal = levels_of(piano, [down, (300, CONTROL, SUSTAIN, 127)], 8, **quiet | {"pedal": 1.0})
    assert (np.diff(by_pedal[1:, 0]) < 0).all()  # it went down once


@pytest.mark.parametrize("frames", [1, 3, 8])
def test_blocks_of_any_size_sound_the_same(piano, frames):
    def play(size):
        bank = Bank(with_noise(piano), RATE, FRAME)
        events, audio = to_samples(music(), RATE), []
        for begin in range(0, 24 * 12 * FRAME, size * FRAME):
            part = events[(events["position"] >= begin) & (events["position"] < begin + size * FRAME)].copy()
            part["position"] -= begin
            audio.append(noise_alone(bank, bank.process(part, size)))
        return np.concatenate(audio)

    whole = play(24)
    assert np.abs(whole).max() > 1e-3
    np.testing.assert_allclose(play(frames), whole, atol=1e-7)


def test_gains_act_on_their_band(piano):
    bank = Bank(with_noise(piano, floor=1e-6), RATE, FRAME)
    excitation = bank.process(np.zeros(0, dtype=SAMPLE_EVENT), 400)
    gain = np.zeros(excitation.noise.shape, dtype=np.float32)
    gain[:, 12] = np.linspace(0, 2, len(gain))
    audio = noise_alone(bank, excitation, gain)
    halves = np.split(audio[: len(audio) // 2 * 2], 2)
    # Mean squares of ramps from 0 to 1 and from 1 to 2.
    assert np.mean(halves[0] ** 2) == pytest.approx(1e-6 / 3, rel=0.2)
    assert np.mean(halves[1] ** 2) == pytest.approx(7e-6 / 3, rel=0.2)


def test_a_state_that_is_restored_replays_identically(piano):
    bank = Bank(with_noise(piano), RATE, FRAME)
    events = np.array([(5, CONTROL, SUSTAIN, 127), (9, NOTE_ON, 60, 90)], dtype=SAMPLE_EVENT)
    bank.process(events, 8)
    state = bank.state()
    first = noise_alone(bank, bank.process(events, 8))
    bank.reset()
    bank.restore(state)
    np.testing.assert_array_equal(noise_alone(bank, bank.process(events, 8)), first)


def test_a_piano_without_noise_plays_its_modes_alone(piano):
    bank = Bank(piano, RATE, FRAME)
    excitation = bank.process(np.array([(5, NOTE_ON, 60, 90)], dtype=SAMPLE_EVENT), 8)
    assert excitation.noise.shape == (9, 0)
    assert not noise_alone(bank, excitation).any()
