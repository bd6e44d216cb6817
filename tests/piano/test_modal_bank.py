"""The bank of modes against a direct sum of damped sinusoids in double precision."""

from dataclasses import replace

import numpy as np
import pytest
from support.damped_sinusoids import FRAME, GAINS, PIANO, RATE, direct, events_of, play

from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, UNA_CORDA
from diffsynth.piano.modal_bank import SILENCE, Bank
from diffsynth.piano.playing import play_whole


def test_loud_strikes_are_brighter_where_the_piano_says_so():
    # Of key 39, modes at 261.6, 262.1 and 524 Hz; 500 to 1000 Hz adds 1 to 3, so 524 Hz 1 + 2 log2(1.048).
    piano = replace(PIANO, colour=np.array([0.0, 1.0, 3.0, 3.0, 3.0, 3.0]))
    octave = np.log2(np.array([261.6, 262.1, 524.0]) / 250)
    added = np.array([octave[0], octave[1], 1 + 2 * (octave[2] - 1)])
    np.testing.assert_allclose(piano.exponents[1:4], PIANO.exponent[39] + added)
    audio = play(Bank(piano, RATE, FRAME), events_of((100, NOTE_ON, 60, 96)), [16])
    gain = (96 / 64) ** added
    expected = direct(
        [(100, 39, 96, None)], 16 * FRAME, replace(PIANO, amplitude=PIANO.amplitude * np.r_[1, gain, 1, 1])
    )
    np.testing.assert_allclose(audio, expected, atol=1e-6)


@pytest.mark.parametrize("onset", [0, 1, 100, 127, 128, 1000, 4095])
def test_a_strike_starts_at_its_very_sample(onset):
    audio = play(Bank(PIANO, RATE, FRAME), events_of((onset, NOTE_ON, 60, 64)), [32, 32])
    assert not audio[:onset].any()
    np.testing.assert_allclose(audio, direct([(onset, 39, 64, None)], 64 * FRAME), atol=1e-6)


def test_chord_at_several_velocities_and_a_strike_over_a_ringing_string():
    strikes = [(5, 0, 127, None), (777, 39, 20, None), (777, 87, 90, None), (3001, 39, 64, None)]
    strikes += [(3002, 39, 100, None), (3050, 87, 1, None)]
    events = events_of(*[(onset, NOTE_ON, key + 21, velocity) for onset, key, velocity, _ in strikes])
    audio = play_whole(PIANO, events, RATE, FRAME, 5 * RATE + 77)
    assert audio.shape == (5 * RATE + 77,)
    # Rounding of the turning phases grows with time: 1e-5 of the loudest (0.9) after 5 s.
    np.testing.assert_allclose(audio, direct(strikes, 5 * RATE + 77), atol=2e-5)


@pytest.mark.parametrize("blocks", [[64], [8] * 8, [1] * 64])
def test_in_a_sampler_the_pedal_ends_older_voices_of_a_key_that_is_held(blocks):
    sampler = replace(PIANO, sampled=True)
    events = events_of(
        (0, CONTROL, SUSTAIN, 127),
        (128, NOTE_ON, 60, 64),
        (500, NOTE_OFF, 60, 0),
        (1000, NOTE_ON, 60, 50),
        (1100, NOTE_OFF, 60, 0),
        (2000, NOTE_ON, 60, 80),
        (4000, CONTROL, SUSTAIN, 0),  # 60 keeps its last voice, until
        (6000, NOTE_OFF, 60, 0),
    )
    voices = [(128, 39, 64, 4096), (1000, 39, 50, 4096), (2000, 39, 80, 6016)]
    audio = play(Bank(sampler, RATE, FRAME), events, blocks)
    np.testing.assert_allclose(audio, direct(voices, 64 * FRAME), atol=4e-3 * np.abs(audio).max())
    strings = play(Bank(PIANO, RATE, FRAME), events, blocks)
    np.testing.assert_allclose(strings[:4000], audio[:4000], atol=1e-6)
    assert np.abs(strings - audio)[4096:].max() > 0.1 * np.abs(audio).max()


def test_a_sampler_may_let_go_and_strike_within_one_frame():
    sampler = replace(PIANO, sampled=True)
    down, up = (0, CONTROL, SUSTAIN, 127), (1005, CONTROL, SUSTAIN, 0)
    two = [(128, NOTE_ON, 60, 64), (300, NOTE_OFF, 60, 0), (600, NOTE_ON, 60, 64)]
    damped = play(Bank(sampler, RATE, FRAME), events_of(down, *two, up, (1010, NOTE_OFF, 60, 0)), [32])
    expected = direct([(128, 39, 64, 1024), (600, 39, 64, 1024)], 32 * FRAME)
    np.testing.assert_allclose(damped, expected, atol=4e-3 * np.abs(damped).max())
    again = play(Bank(sampler, RATE, FRAME), events_of(down, *two, up, (1010, NOTE_ON, 87, 64)), [32])
    expected = direct([(128, 39, 64, 1024), (600, 39, 64, None), (1010, 66, 64, None)], 32 * FRAME)
    np.testing.assert_allclose(again, expected, atol=4e-3 * np.abs(again).max())


def test_damper_falls_at_the_nearest_frame_border():
    for fall, border in [(1024, 1024), (1024 + 63, 1024), (1024 + 64, 1152), (1151, 1152)]:
        audio = play(
            Bank(PIANO, RATE, FRAME), events_of((40, NOTE_ON, 60, 64), (fall, NOTE_OFF, 60, 0)), [32]
        )
        expected = direct([(40, 39, 64, border)], 32 * FRAME)
        np.testing.assert_allclose(audio[:border], expected[:border], atol=1e-6)
        # Within a frame the exponential is a chord: off by at most (release * frame / rate)^2 / 8 = 0.4 %.
        worst = (PIANO.release[39] * FRAME / RATE) ** 2 / 8 * np.abs(expected[border : border + 200]).max()
        np.testing.assert_allclose(audio, expected, atol=1.05 * worst)
        at_borders = slice(border, None, FRAME)  # where it is exact
        np.testing.assert_allclose(audio[at_borders], expected[at_borders], atol=1e-6)


@pytest.mark.parametrize("fall", [30, 90])
def test_a_key_struck_and_damped_within_one_frame_is_damped_from_its_end(fall):
    audio = play(Bank(PIANO, RATE, FRAME), events_of((20, NOTE_ON, 60, 64), (fall, NOTE_OFF, 60, 0)), [32])
    expected = direct([(20, 39, 64, FRAME)], 32 * FRAME)
    np.testing.assert_allclose(audio[::FRAME], expected[::FRAME], atol=1e-6)
    np.testing.assert_allclose(audio, expected, atol=6e-4)


@pytest.mark.parametrize("again", [2000, 2040])
def test_a_key_damped_and_struck_within_one_frame_rings_on(again):
    events = events_of((0, NOTE_ON, 60, 64), (again, NOTE_OFF, 60, 0), (again + 5, NOTE_ON, 60, 90))
    audio = play(Bank(PIANO, RATE, FRAME), events, [64])
    border = round(again / FRAME) * FRAME
    expected = direct([(0, 39, 64, border), (again + 5, 39, 90, None)], 64 * FRAME)
    np.testing.assert_allclose(audio[::FRAME], expected[::FRAME], atol=2e-6)


def test_pedals_hold_dampers():
    events = events_of(
        (0, NOTE_ON, 60, 64),
        (500, CONTROL, SUSTAIN, 127),
        (1000, NOTE_OFF, 60, 0),
        (2048, CONTROL, SUSTAIN, 0),
    )
    audio = play(Bank(PIANO, RATE, FRAME), events, [32])
    np.testing.assert_allclose(audio[::FRAME], direct([(0, 39, 64, 2048)], 32 * FRAME)[::FRAME], atol=1e-6)


def test_silence_stays_silent():
    bank = Bank(PIANO, RATE, FRAME)
    pedals = events_of((0, CONTROL, SUSTAIN, 127), (9, CONTROL, SUSTAIN, 0), (300, NOTE_OFF, 60, 0))
    excitation = bank.process(pedals, 32)
    assert not bank.play(excitation, np.full((33, 6), 1e6, np.float32)).any()
    assert excitation.strikes == []


def test_what_dies_away_ends_in_exact_silence():
    bank = Bank(replace(PIANO, release=np.full(88, 60.0)), RATE, FRAME)
    events = events_of((0, NOTE_ON, 60, 127), (128, NOTE_OFF, 60, 0))
    seconds = play(bank, events, [32] * 8)
    assert np.abs(seconds[: 32 * FRAME]).max() > 0.1
    # 0.7 of amplitude falls below 1e-8 within ln(7e7) / 60 = 0.30 s: in the second block.
    assert not seconds[3 * 32 * FRAME :].any()
    assert not bank.amplitude.any()


def test_no_amplitude_is_ever_left_denormal():
    bank = Bank(PIANO, RATE, FRAME)
    bank.process(events_of((0, NOTE_ON, 108, 127), (1, NOTE_OFF, 108, 0)), 4)
    for _ in range(300):
        bank.process(events_of(), 4)
        heard = np.abs(bank.amplitude[bank.amplitude != 0])
        assert heard.min(initial=1) >= SILENCE


def test_gains_move_linearly_between_frame_borders():
    bank = Bank(PIANO, RATE, FRAME)
    # A strike at the very start, and one inside of frame 2.
    strikes = [(0, 39, 64, None), (2 * FRAME + 50, 87, 64, None)]
    events = events_of(*[(onset, NOTE_ON, key + 21, velocity) for onset, key, velocity, _ in strikes])
    audio = play(bank, events, [2, 1, 5], np.repeat(GAINS[:9, :1], 6, axis=1))
    ramp = np.interp(np.arange(8 * FRAME) / FRAME, np.arange(9), GAINS[:9, 0])
    np.testing.assert_allclose(audio, ramp * direct(strikes, 8 * FRAME), atol=2e-6)


def test_each_mode_has_its_own_gain():
    bank = Bank(PIANO, RATE, FRAME)
    gain = np.zeros((9, 6), np.float32)
    gain[:, 3] = 2.0
    audio = play(bank, events_of((0, NOTE_ON, 60, 64)), [8], gain)
    phase = (2j * np.pi * 524.0 - 1.9) * np.arange(8 * FRAME) / RATE
    np.testing.assert_allclose(audio, 2 * 0.03 * np.exp(phase).real, atol=1e-6)


def test_no_click_at_borders_where_gains_jump_and_dampers_fall():
    slow = replace(PIANO, frequency=np.full(6, 20.0), amplitude=np.full(6, 0.1 + 0j))
    events = events_of((0, NOTE_ON, 60, 64), (1024, NOTE_OFF, 60, 0))
    gain = np.tile([[1.0], [0.0]], (17, 6))[:33].astype(np.float32)
    audio = play(Bank(slow, RATE, FRAME), events, [4] * 8, gain)
    # 0.3 of amplitude: steps by the gain (1 / frame), the turning and the release, no more.
    steps = np.abs(np.diff(audio))
    assert steps.max() < 0.3 * (1 / FRAME + 2 * np.pi * 20 / RATE + 60 / RATE)


def test_excitation_tells_amplitudes_strikes_and_pedals():
    bank = Bank(PIANO, RATE, FRAME)
    events = events_of(
        (3, NOTE_ON, 60, 80),
        (130, CONTROL, UNA_CORDA, 90),
        (200, CONTROL, SUSTAIN, 33),
        (300, NOTE_ON, 108, 64),
    )
    found = bank.process(events, 4)
    struck = [(s.frame, s.offset, s.key, s.velocity, s.modes) for s in found.strikes]
    assert struck == [(0, 3, 39, 80, slice(1, 4)), (2, 44, 87, 64, slice(4, 6))]
    assert found.pedals.tolist() == [[0, 0, 0], [33, 0, 90], [33, 0, 90], [33, 0, 90]]
    t = (np.arange(1, 5) * FRAME - 3) / RATE
    expected = (80 / 64) ** PIANO.exponent[39] * PIANO.amplitude[1] * np.exp((2j * np.pi * 261.6 - 0.8) * t)
    np.testing.assert_allclose(found.end[:, 1], expected, atol=1e-6)
    np.testing.assert_allclose(found.start[1:, 1], expected[:-1], atol=1e-6)
    assert not found.start[0].any()
    assert not found.end[:, 0].any()
