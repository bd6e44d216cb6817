"""The low anchor keeps to ITU-R BS.1534."""

import numpy as np
import pytest

from diffsynth.evaluation.anchor import low_pass

RATE = 24000


@pytest.mark.parametrize(
    ("frequency", "least", "most"),
    [
        (50, -0.1, 0.1),
        (1000, -0.1, 0.1),
        (3500, -0.1, 0.1),
        (4000, -200, -25),
        (4500, -200, -50),
        (9000, -200, -50),
    ],
)
def test_levels_are_those_of_the_standard(frequency, least, most):
    tone = np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE).astype("f4")
    heard = low_pass(tone, RATE)[2000:-2000]
    assert least <= 20 * np.log10(heard.std() / tone.std() + 1e-12) <= most


def test_it_is_not_shifted_and_as_long():
    for length in (1, 50, 5000):
        impulse = np.zeros(length, "f4")
        impulse[length // 2] = 1
        heard = low_pass(impulse, RATE)
        assert (len(heard), heard.dtype) == (length, np.float32)
        assert heard.argmax() == length // 2


def test_a_rate_that_holds_nothing_higher_changes_nothing():
    tone = np.random.default_rng(0).standard_normal(100).astype("f4")
    np.testing.assert_array_equal(low_pass(tone, 8000), tone)
