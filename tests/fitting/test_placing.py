"""Channels get the balance that they have in the recordings, band by band."""

from dataclasses import replace

import numpy as np
import pytest
from support.noisy_piano import make_noise

from diffsynth.evaluation.image import image_difference
from diffsynth.fitting.placing import place
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.piano.playing import play_whole

RATE, SECONDS = 16000, 12


def events(seed):
    random, rows = np.random.default_rng(seed), []
    for number in range(60):
        at, key = 0.1 + 0.18 * number, int(random.integers(30, 95))
        rows += [(at, NOTE_ON, key, int(random.integers(40, 110))), (at + 0.3, NOTE_OFF, key, 0)]
    return to_samples(make_events(sorted(rows)), RATE)


def play(piano, seed):
    return play_whole(piano, events(seed), RATE, 128, SECONDS * RATE)


@pytest.fixture
def truth(piano):
    """A piano whose right channel is louder the higher a mode is, with noise that is louder on the left."""
    louder = 10 ** (np.log2(piano.frequency / 500) * 1.5 / 20)
    image = np.stack([np.ones_like(louder), louder]).astype(np.complex128)
    size = np.sqrt((np.abs(image) ** 2).mean(axis=0))
    noise = make_noise(floor=1e-7, strike=1e-6, highest=7000.0)
    sides = np.sqrt(np.array([1.6, 0.4]))[:, None] * np.ones((2, len(noise.centre)))
    return replace(
        piano, image=image / size, amplitude=piano.amplitude * size, noise=replace(noise, image=sides)
    )


def test_what_is_too_soft_in_a_channel_is_as_loud_as_it_was_recorded(truth):
    soft = np.where(truth.frequency > 1500, 0.75, 1.0) * np.array([[1.0], [1.0]])
    soft[0] = 1.0
    wrong = replace(truth, image=truth.image * soft)
    found = place(wrong, [Take(play(truth, 1), events(1), RATE)], 7000.0)
    before, after = (image_difference(play(truth, 2), play(each, 2), RATE) for each in (wrong, found))
    assert before > 1.1
    assert after < 0.4
    np.testing.assert_allclose((np.abs(found.image) ** 2).mean(axis=0), 1.0)
    np.testing.assert_allclose((found.noise.image**2).mean(axis=0), 1.0)


def test_what_is_right_stays_as_it_is(truth):
    found = place(truth, [Take(play(truth, 1), events(1), RATE)], 7000.0)
    np.testing.assert_allclose(found.amplitude * found.image, truth.amplitude * truth.image, atol=1e-6)
    np.testing.assert_allclose(
        found.noise.floor * found.noise.image**2, truth.noise.floor * truth.noise.image**2
    )


def test_a_silent_recording_changes_nothing(truth):
    silence = Take(np.zeros((RATE, 2), np.float32), events(1)[:0], RATE)
    found = place(truth, [silence], 7000.0)
    np.testing.assert_allclose(found.amplitude * found.image, truth.amplitude * truth.image)
