"""A piano that two microphones hear: every channel is fitted as if it were alone."""

from dataclasses import replace

import numpy as np
import pytest
from support.small_fit import CONFIG, RATE, SECONDS, recording, true_piano

from diffsynth.fitting.fit import fit_piano
from diffsynth.fitting.image import _merged_noise, add_image
from diffsynth.fitting.takes import Take
from diffsynth.piano.noise import DRIVES, SILENCE, Noise
from diffsynth.piano.playing import play_whole


def stereo_piano(seed=0):
    """The true piano, each mode in each channel as loud and as late as chance will have it."""
    piano, generator = true_piano(), np.random.default_rng(seed)
    shape = 2, len(piano.key)
    image = np.exp(0.7 * generator.standard_normal(shape) + 2j * np.pi * generator.random(shape))
    image[:, ::5] = [[1.0], [-1.0]]  # a downmix would not hear these
    return replace(piano, image=image)


@pytest.fixture(scope="module")
def take():
    events = recording().events
    audio = play_whole(stereo_piano(), events, RATE, 128, SECONDS * RATE)
    noise = np.random.default_rng(4).standard_normal(audio.shape).astype(np.float32)
    return Take(audio + np.float32(1e-4) * noise, events, RATE)


@pytest.fixture(scope="module")
def fitted(take):
    return fit_piano([take], CONFIG)


def unexplained(piano, take):
    """Share of the energy of each channel that is not explained."""
    error = play_whole(piano, take.events, take.rate, 128, len(take.audio)) - take.audio
    return (error**2).sum(axis=0) / (take.audio**2).sum(axis=0)


def test_every_channel_is_explained_as_well_as_one_alone(take, fitted):
    alone = [fit_piano([take.channel(channel)], CONFIG) for channel in (0, 1)]
    expected = [unexplained(one, take.channel(c)) for c, one in enumerate(alone)]
    found = unexplained(fitted, take)
    assert fitted.channels == 2
    assert found[0] == pytest.approx(expected[0], rel=0.1)  # the balance of the noise is a mean
    assert found[1] < max(1.5 * expected[1], 0.01)


def test_the_levels_of_keys_are_right_in_each_channel(fitted):
    """Energy of a strike of each key, by channel, against that of the truth."""
    truth = stereo_piano()
    for key in np.unique(truth.key):
        found, wanted = (
            (np.abs(p.amplitude * p.image)[:, p.key == key] ** 2 / p.decay[p.key == key]).sum(axis=1)
            for p in (fitted, truth)
        )
        np.testing.assert_allclose(10 * np.log10(found / wanted), 0.0, atol=1.0)


def test_keys_that_are_not_heard_are_where_their_neighbours_are():
    louder = replace(true_piano(), image=np.array([[1.0], [2.0]]) * np.ones(len(true_piano().key)))
    audio = play_whole(louder, recording().events, RATE, 128, SECONDS * RATE)
    found = fit_piano([Take(audio, recording().events, RATE)], replace(CONFIG, passes=0))
    between = (found.key > 27) & (found.key < 34)
    levels = (np.abs(found.amplitude * found.image)[:, between] ** 2).sum(axis=1)
    assert 10 * np.log10(levels[1] / levels[0]) == pytest.approx(20 * np.log10(2), abs=0.1)


def test_images_have_a_mean_square_of_one_over_channels(fitted):
    np.testing.assert_allclose((np.abs(fitted.image) ** 2).mean(axis=0), 1.0)


def test_one_channel_needs_no_image():
    piano, take = true_piano(), recording()
    assert add_image(piano, [take], CONFIG) is piano


def test_noise_of_channels_is_their_mean_and_their_balance():
    centre, weight = np.array([100.0, 1000.0]), np.ones((2, len(DRIVES), 2))
    left, right = Noise(centre, np.array([4.0, 0.0]), 4 * weight), Noise(centre, np.array([2.0, 0.0]), weight)
    # What is heard of it: in the first band twice as much of the floor as of all memories together.
    kinds = 2 * len(DRIVES)
    driven = np.vstack([[2.0, 2.0], np.full((kinds, 2), 1 / kinds)])
    both = _merged_noise([left, right], driven)
    np.testing.assert_allclose(both.floor, [3.0, 0.0])
    np.testing.assert_allclose(both.weight, 2.5)
    first = np.array([2 * 4 + 4, 2 * 2 + 1]) / (2 * 3 + 2.5)
    np.testing.assert_allclose(both.image**2, [[first[0], 1.6], [first[1], 0.4]])


def test_a_channel_without_noise_takes_none_from_the_other():
    centre, weight = np.array([100.0, 1000.0]), np.ones((2, len(DRIVES), 2))
    right = Noise(centre, np.array([2.0, 0.0]), weight)
    driven = np.ones((1 + 2 * len(DRIVES), 2))
    both = _merged_noise([SILENCE, right], driven)
    np.testing.assert_allclose(both.floor, [1.0, 0.0])
    np.testing.assert_allclose(both.weight, 0.5)
    np.testing.assert_allclose(both.image, [[0.0, 0.0], [2**0.5, 2**0.5]])
    assert _merged_noise([SILENCE, SILENCE], driven) is SILENCE
