"""The stereo image is compared octave by octave."""

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.image import image_difference
from diffsynth.evaluation.pair import Pair
from diffsynth.evaluation.registry import measure

RATE = 24000
SETTINGS = Evaluate([1024, 2048, 4096], 0.05, 50.0)


@pytest.fixture(scope="module")
def parts():
    """Noise below 500 Hz and above 4 kHz, [time, 2] each, the right channel half as loud."""
    noise = np.random.default_rng(0).standard_normal((4 * RATE, 1)) * [0.1, 0.05]
    low, high = (
        butter(12, edge, kind, fs=RATE, output="sos") for edge, kind in ((500, "low"), (4000, "high"))
    )
    return [sosfilt(part, noise, axis=0).astype(np.float32) for part in (low, high)]


def test_the_worst_octave_counts(parts):
    low, high = parts
    moved = low + high * np.array([1.0, 2.0], np.float32)
    assert image_difference(low + high, moved, RATE) == pytest.approx(6.02, abs=0.01)
    assert image_difference(low + high, 3 * (low + high), RATE) == pytest.approx(0.0, abs=1e-4)
    assert image_difference(low + high, (low + high)[:, ::-1], RATE) == pytest.approx(12.04, abs=0.01)


def test_what_is_too_soft_to_be_heard_does_not_count(parts):
    low, high = parts
    target, moved = low + 1e-4 * high, low + 1e-4 * high * np.array([1.0, 9.0], np.float32)
    assert image_difference(target, moved, RATE) < 0.2


def test_it_is_measured_of_two_channels_and_not_of_one(parts):
    both = sum(parts)
    of_two, of_one = (measure(Pair(x, x, RATE, SETTINGS)) for x in (both, both[:, 0]))
    assert of_two["image_difference_db"] == 0.0
    assert "image_difference_db" not in of_one
    assert set(of_two) == {*of_one, "image_difference_db"}


def test_silence_has_no_image(parts):
    silence = np.zeros_like(parts[0])
    faint = (1e-6 * sum(parts)).astype(np.float32)
    assert image_difference(silence, faint, RATE) == 0.0
    assert image_difference(sum(parts), silence, RATE) == 0.0
    assert image_difference(silence[:1], silence[:1], RATE) == 0.0


def test_a_channel_that_is_missing_is_as_soft_as_what_is_not_heard(parts):
    both = sum(parts)
    assert 50 < image_difference(both, both * np.array([1.0, 0.0], np.float32), RATE) < 61
