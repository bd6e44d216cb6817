"""Levels in bands, by value."""

import numpy as np

from diffsynth.audio.band_levels import BandLevels
from diffsynth.audio.mel_bands import centres_of

RATE = 16000
CENTRES = centres_of(64, 40.0, 7200.0)
LEVELS = BandLevels(CENTRES, RATE, 1024, 128)


def test_levels_of_a_tone_and_of_silence():
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    levels = LEVELS(tone.astype(np.float32))
    assert levels.shape == (RATE // 128, 64)
    np.testing.assert_allclose(levels[20:-20].sum(axis=1), 0.005, rtol=1e-3)
    assert abs(CENTRES[levels[60].argmax()] - 1000) < 60
    assert not LEVELS(np.zeros(RATE, dtype=np.float32)).any()


def test_a_level_is_that_of_the_end_of_its_frame():
    click = np.zeros(RATE, dtype=np.float32)
    click[1280] = 1.0
    levels = LEVELS(click).sum(axis=1)
    assert levels.argmax() == 9  # frame 9 ends before sample 1280
    np.testing.assert_allclose(levels[9 - 3 : 9], levels[10 : 10 + 3][::-1], rtol=1e-3)
    assert not levels[: 9 - 4].any()
