"""What is heard of gains: as the engine's bank plays them, and by hand where that is exact."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.noisy_piano import with_noise

from diffsynth.audio.format import AudioFormat
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.piano.modal_bank import Bank
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField, band_centres
from diffsynth.representation.heard_sound import HeardSound

RATE, FRAME, HOPS = 24000, 128, 120
AUDIO = AudioFormat(RATE, FRAME)
FEATURES = Features(64, 32, 10500.0, 3000.0, window=2048, floor=-100.0, hop=4, ages=[0.1, 0.5])
NOTES = [(0.1, 48, 90), (0.3, 60, 70), (0.55, 64, 100), (0.9, 60, 80), (1.3, 72, 60), (1.7, 55, 110)]
ROWS = [*((t, NOTE_ON, k, v) for t, k, v in NOTES), (2.2, NOTE_OFF, 72, 0), (2.2, NOTE_OFF, 55, 0)]
EVENTS = make_events(ROWS)


@pytest.fixture(scope="module")
def rendered(piano):
    """The bank of a piano with noise, its field, its excitation, and sounds for `HeardSound`."""
    piano = replace(with_noise(piano, floor=1e-8), jitter=0.0)
    bank, field = Bank(piano, RATE, FRAME), GainField(piano, AUDIO, FEATURES)
    excitation = bank.process(to_samples(EVENTS, RATE), HOPS * 4)
    sounds = [bank.play_modes(excitation, share) for share in field.age_shares(excitation)]
    sounds = np.stack([*sounds, bank.play_noise(excitation)])
    padded = np.pad(sounds, ((0, 0), (1024, 1024)))
    heard = HeardSound(FEATURES, piano.noise.centre, AUDIO)
    return bank, field, excitation, heard, torch.from_numpy(padded)[None]


def smooth_gains(seed):
    """[HOPS + 1, k] gains of 2 to 3 dB that are smooth over bands and time, like those of a network."""
    rng, count = np.random.default_rng(seed), FEATURES.values
    gains = rng.normal(size=(HOPS + 1 + 24, count + 24))
    for axis in (0, 1):
        gains = np.apply_along_axis(np.convolve, axis, gains, np.hanning(25) / np.hanning(25).sum(), "valid")
    return (0.3 * gains / gains.std()).astype(np.float32)


def test_gains_of_one_change_nothing(rendered):
    *_, heard, sounds = rendered
    found = heard(torch.zeros(1, HOPS + 1, FEATURES.values), sounds)
    expected = sounds.sum(1)[:, 1024:-1024]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_what_the_bank_plays(rendered, seed):
    bank, field, excitation, heard, sounds = rendered
    gains = smooth_gains(seed)
    expected = bank.play(excitation, field.mode_gains(gains, excitation), field.noise_gains(gains))
    found = heard(torch.from_numpy(gains)[None], sounds)[0].numpy()
    alone = sounds.sum(1)[0, 1024:-1024].numpy()
    error, change = (np.linalg.norm(expected - other) for other in (found, alone))
    assert change > 0.2 * np.linalg.norm(expected)
    assert error < 0.12 * change


def test_gains_of_an_age_and_of_noise_act_on_theirs_alone(rendered):
    *_, heard, sounds = rendered
    alone = heard(torch.zeros(1, HOPS + 1, FEATURES.values), sounds)
    for part, own in enumerate([slice(0, 64), slice(64, 128), slice(128, 160)]):
        gains = torch.zeros(1, HOPS + 1, FEATURES.values)
        gains[..., own] = np.log(2)
        expected = alone + sounds[:, part, 1024:-1024]
        torch.testing.assert_close(heard(gains, sounds), expected, atol=2e-4, rtol=0)


def test_noise_that_shares_the_gains_of_modes_is_one_part_with_them():
    shared = replace(FEATURES, noise_bands=0, ages=[1.0])
    heard = HeardSound(shared, np.zeros(0), AUDIO)
    frequency = band_centres(shared)[30]
    tone = np.sin(2 * np.pi * frequency * np.arange(2048 + 20 * 512) / RATE).astype(np.float32)
    gains = torch.zeros(1, 21, 64)
    gains[..., 30] = np.log(3)  # alone in a band, at its centre
    found = heard(gains, torch.from_numpy(tone)[None, None])[0]
    level = found[4096:-4096].square().mean().sqrt() / np.sqrt(0.5)
    assert float(level) == pytest.approx(3.0, rel=0.05)  # a window of no shape sees beside the tone


def test_gradients_reach_every_gain_that_is_heard(rendered):
    *_, heard, sounds = rendered
    gains = torch.zeros(1, HOPS + 1, FEATURES.values, requires_grad=True)
    heard(gains, sounds).square().sum().backward()
    assert torch.isfinite(gains.grad).all()
    assert (gains.grad[0, 20:-20, 128:].abs() > 0).all()
