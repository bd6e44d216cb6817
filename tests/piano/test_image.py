"""A piano of several channels: every channel is what a piano of its own would be."""

from dataclasses import replace

import numpy as np
import pytest
from support.damped_sinusoids import PIANO, RATE

from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events, to_samples
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.noise import DRIVES, Noise
from diffsynth.piano.noise_bank import NoiseBank, make_loops
from diffsynth.piano.piano import Piano, load_piano, save_piano
from diffsynth.piano.playing import play_whole

FRAME = 64
CENTRE = np.array([200.0, 800.0, 3000.0])
EVENTS = to_samples(
    make_events(
        [
            (0.011, NOTE_ON, 60, 90),
            (0.1, CONTROL, SUSTAIN, 127),
            (0.2, NOTE_OFF, 60, 0),
            (0.25, NOTE_ON, 64, 50),
            (0.4, CONTROL, SUSTAIN, 0),
            (0.5, NOTE_ON, 64, 100),
        ]
    ),
    RATE,
)
LENGTH = RATE


def image(modes, channels=2, seed=0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((channels, modes)) + 1j * generator.standard_normal((channels, modes))


def noisy(piano):
    weight = np.full((2, len(DRIVES), len(CENTRE)), 1e-5)
    return replace(piano, noise=Noise(CENTRE, np.full(len(CENTRE), 1e-6), weight))


def stereo(piano):
    """The piano with an image, of its noise too."""
    levels = np.array([[1.2, 0.5, 1.0], [0.8, 1.3, 1.0]])
    noise = replace(piano.noise, image=levels) if len(piano.noise.centre) else piano.noise
    return replace(piano, image=image(len(piano.key)), noise=noise)


@pytest.mark.parametrize("rise", [0.0, 1500.0])
def test_every_channel_is_a_piano_with_its_amplitudes(rise):
    piano = replace(stereo(PIANO), rise=rise)
    heard = play_whole(piano, EVENTS, RATE, FRAME, LENGTH)
    assert heard.shape == (LENGTH, 2)
    for channel, factors in enumerate(piano.image):
        alone = replace(PIANO, amplitude=PIANO.amplitude * factors, rise=rise)
        expected = play_whole(alone, EVENTS, RATE, FRAME, LENGTH)
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(heard[:, channel], expected, atol=2e-6 * np.abs(expected).max())


def test_the_sum_of_older_and_new_sound_is_decided_for_all_channels_together():
    piano = replace(stereo(PIANO), jitter=1e-3)
    heard = play_whole(piano, EVENTS, RATE, FRAME, LENGTH)
    middle = play_whole(replace(PIANO, jitter=1e-3), EVENTS, RATE, FRAME, LENGTH)
    same = replace(piano, image=np.ones_like(piano.image))
    np.testing.assert_array_equal(play_whole(same, EVENTS, RATE, FRAME, LENGTH), np.stack([middle] * 2, 1))
    assert np.isfinite(heard).all()


def test_noise_has_its_levels_in_every_channel_and_is_not_coherent():
    noise = stereo(noisy(PIANO)).noise
    bank = NoiseBank(stereo(noisy(PIANO)), RATE, FRAME)
    frames = 4 * RATE // FRAME
    levels = np.tile([1e-3, 0.0, 0.0], (frames + 1, 1))
    left, right = bank.play(levels, 0)
    for channel, sound in enumerate((left, right)):
        expected = 1e-3 * noise.image[channel, 0] ** 2
        assert np.mean(sound**2) == pytest.approx(expected, rel=0.02)
    coherence = np.mean(left * right) / np.sqrt(np.mean(left**2) * np.mean(right**2))
    assert abs(coherence) < 0.1


def test_the_first_channel_has_the_noise_of_one_channel():
    for both, alone in zip(make_loops(CENTRE, RATE, 2), make_loops(CENTRE, RATE), strict=False):
        np.testing.assert_array_equal(both, alone)
    assert len(make_loops(CENTRE, RATE, 2)) == 2 * len(CENTRE)


def test_modes_and_noise_add_up_whatever_the_blocks():
    piano = stereo(noisy(PIANO))
    whole = play_whole(piano, EVENTS, RATE, FRAME, 20 * 16 * FRAME)
    bank, parts = Bank(piano, RATE, FRAME), []
    for first in range(0, 20 * 16, 16):
        low, high = np.searchsorted(EVENTS["position"], [first * FRAME, (first + 16) * FRAME])
        part = EVENTS[low:high].copy()
        part["position"] -= first * FRAME
        gain = np.ones((17, bank.modes), np.float32)
        excitation = bank.process(part, 16)
        both = bank.play_modes(excitation, gain), bank.play_noise(excitation)
        assert both[0].shape == both[1].shape == (16 * FRAME, 2)
        parts.append(both[0] + both[1])
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_a_piano_of_two_channels_comes_back_exactly(tmp_path):
    piano = stereo(noisy(PIANO))
    save_piano(tmp_path / "piano.safetensors", piano)
    loaded = load_piano(tmp_path / "piano.safetensors")
    assert loaded.channels == 2
    np.testing.assert_array_equal(loaded.image, piano.image)
    np.testing.assert_array_equal(loaded.noise.image, piano.noise.image)


@pytest.mark.parametrize(
    "change",
    [
        lambda piano: replace(piano, image=piano.image[:, :-1]),
        lambda piano: replace(piano, image=piano.image[:1]),
        lambda piano: replace(piano, noise=replace(piano.noise, image=piano.noise.image[:, :-1])),
        lambda piano: replace(piano, noise=replace(piano.noise, image=-piano.noise.image)),
    ],
)
def test_images_that_do_not_fit_are_refused(change):
    with pytest.raises(UserError, match=r"not (a modal piano|noise)"):
        Piano.from_tensors(change(stereo(noisy(PIANO))).tensors())
