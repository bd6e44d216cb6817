"""What is heard of gains, and the gains that are asked for, against sums by hand and rendered sound."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.noisy_piano import with_noise

from diffsynth.audio.format import AudioFormat
from diffsynth.midi.events import CONTROL, NOTE_ON, SAMPLE_EVENT, SUSTAIN
from diffsynth.piano.modal_bank import Bank
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField, band_centres, spread_of_noise
from diffsynth.representation.normaliser import MAX_GAIN
from diffsynth.representation.targets import Targets, taps

AUDIO = AudioFormat(sample_rate=24000, frame=128)
FEATURES = Features(12, 6, highest=10500.0, knee=3000.0, window=1024, floor=-80.0, hop=4, ages=[1.0])
TARGETS = Targets(FEATURES, AUDIO)


def levels_of(*powers):
    """Levels of parts, [parts, b], from powers in floors."""
    return np.log10(np.array(powers, dtype=np.float64) + 1)


def heard(gains, levels, targets=TARGETS):
    """The same for one row of gains that stands still."""
    rows = (np.tile(x, (1, 5) + (1,) * np.ndim(x)).astype(np.float32) for x in (gains, levels))
    return targets.heard(*map(torch.from_numpy, rows))[0, 2].numpy()


@settings(deadline=None)
@given(st.integers(2, 4096), st.integers(1, 1024))
def test_taps_are_the_power_of_the_window_by_the_hops_it_sees(window, hop):
    found = taps(window, hop)
    assert len(found) % 2 == 1
    assert found.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found, found[::-1], atol=1e-6)
    # A gain that rises evenly over time is in the middle what it is there.
    assert found @ (np.arange(len(found)) - len(found) // 2) == pytest.approx(0, abs=1e-4)


def test_taps_by_hand():
    # Window of 8, hop of 2: squares of Hann at -3 .. 3, each between two ends of hops.
    power = np.sin(np.pi * np.arange(1, 8) / 8) ** 4
    expected = np.zeros(5)
    for at, p in zip(np.arange(-3, 4) / 2, power, strict=True):
        low = int(np.floor(at))
        expected[low + 2] += p * (1 - (at - low))
        expected[low + 3 if low < 2 else 4] += p * (at - low)
    np.testing.assert_allclose(taps(8, 2), expected / expected.sum(), atol=1e-6)


def test_powers_of_modes_and_noise_add_up():
    modes, noise = np.linspace(10, 1e4, 12), np.full(12, 50.0)
    gains = np.concatenate([np.linspace(-1, 1, 12), np.full(6, 0.5)])
    expected = 10 * np.log10(1 + modes * np.exp(2 * gains[:12]) + noise * np.e)
    np.testing.assert_allclose(heard(gains, levels_of(modes, modes, noise)), expected, atol=1e-3)


def test_gains_of_noise_are_interpolated_to_the_bands_of_the_modes():
    gains = np.zeros(18)
    gains[12:] = [0.3, -0.2, 0.5, 0.1, -0.4, 0.2]
    centres = np.log(1 + band_centres(FEATURES) / 3000)
    own = np.interp(centres, np.log(1 + band_centres(FEATURES, 6) / 3000), gains[12:])
    found = heard(gains, levels_of(np.ones(12), np.zeros(12), np.full(12, 1e5)))
    np.testing.assert_allclose(found, 10 * np.log10(1 + 1e5 * np.exp(2 * own)), atol=1e-3)
    np.testing.assert_allclose(spread_of_noise(FEATURES).sum(axis=1), 1, atol=1e-6)


def test_gains_are_limited_in_what_is_heard():
    levels = levels_of(np.ones(12), np.full(12, 1e3), np.zeros(12))
    loudest = 10 * np.log10(1 + 1e3 * np.exp(2 * MAX_GAIN))
    np.testing.assert_allclose(heard(np.full(18, 9.0), levels), loudest, atol=1e-3)


def test_a_change_of_gain_is_heard_as_the_window_sees_it():
    together = replace(FEATURES, noise_bands=0, hop=1)
    targets, window = Targets(together, AUDIO), taps(1024, 128)
    gains = np.zeros((1, 20, 12), np.float32)
    gains[:, 10:] = 1.0
    levels = np.broadcast_to(levels_of(np.ones(12), np.full(12, 1e5)), (1, 20, 2, 12))
    found = targets.heard(torch.from_numpy(gains), torch.tensor(levels, dtype=torch.float32))[0, :, 0].numpy()
    reach = len(window) // 2
    power = np.convolve(np.pad(np.exp(2 * gains[0, :, 0]), reach, mode="edge"), window, "valid")
    np.testing.assert_allclose(found, 10 * np.log10(1 + 1e5 * power), atol=1e-3)


def test_the_wanted_gain_leads_to_the_recording_and_each_part_counts_by_its_share():
    recording, modes, noise = np.full(12, 4e3), np.full(12, 900.0), np.full(12, 100.0)
    gains, weight = TARGETS(levels_of(recording, modes, noise))
    np.testing.assert_allclose(gains, 0.5 * np.log(4001 / 1001), rtol=1e-5)
    np.testing.assert_allclose(heard(gains, levels_of(recording, modes, noise)), 36.02, atol=0.01)
    np.testing.assert_allclose(weight[:12] / weight[:12].max(), 1, rtol=1e-5)
    np.testing.assert_allclose(weight[12:], weight[0] / 9, rtol=1e-5)


def test_of_silence_nothing_counts():
    gains, weight = TARGETS(levels_of(*np.zeros((3, 12))))
    assert not gains.any()
    assert not weight.any()


def test_levels_of_the_sound_are_those_that_are_heard_of_its_gains(piano):
    """Played with gains that stand still, by the bank: 1 dB where modes and noise do not lie too near."""
    noisy = with_noise(piano)
    features = replace(FEATURES, window=2048)
    field, targets = GainField(noisy, AUDIO, features), Targets(features, AUDIO)
    bank = Bank(noisy, 24000, 128)
    rows = [(0, CONTROL, SUSTAIN, 127), *((64, NOTE_ON, key, 80) for key in (40, 52, 59, 64, 71, 83))]
    events = np.array(rows, dtype=SAMPLE_EVENT)
    gains = np.tile(0.5 * np.cos(np.arange(18.0)), (65, 1)).astype(np.float32)
    excitation = bank.process(events, 256)
    unity = np.ones((257, bank.modes), np.float32)
    modes, noise = bank.play_modes(excitation, unity), bank.play_noise(excitation)
    sound = bank.play_modes(excitation, field.mode_gains(gains)) + bank.play_noise(
        excitation, field.noise_gains(gains)
    )
    inner = slice(8, 56)
    found = 10 * field.levels(sound)[inner, 0]
    levels = torch.from_numpy(field.levels(modes + noise, modes, noise))[None]
    expected = targets.heard(torch.from_numpy(gains[1:])[None], levels)[0, inner].numpy()
    plain = 10 * field.levels(modes + noise)[inner, 0]
    error, change = np.abs(found - expected).mean(), np.abs(found - plain).mean()
    assert error < 1.0
    assert error < 0.5 * change
