"""The piano by formula, against numbers by hand."""

import numpy as np
import pytest

from diffsynth.piano.formula import formula_piano
from diffsynth.piano.piano import Piano

A2, A4 = 24, 48  # keys


def modes(piano, key):
    return piano.frequency[piano.key == key], np.abs(piano.amplitude[piano.key == key])


def test_partials_are_those_of_a_stiff_string():
    """B is 1e-4 at A2 (110 Hz) and 4e-4 two octaves above."""
    piano = formula_piano(24000)
    for key, fundamental, stiffness in ((A2, 110.0, 1e-4), (A4, 440.0, 4e-4)):
        frequency, _ = modes(piano, key)
        expected = [n * fundamental * (1 + stiffness * n * n) ** 0.5 for n in (1, 2, 7, 9)]
        np.testing.assert_allclose(frequency[[0, 1, 6, 7]], expected)  # the eighth is missing


def test_the_hammer_strikes_at_an_eighth():
    _, amplitude = modes(formula_piano(24000), A2)
    assert amplitude[3] / amplitude[0] == pytest.approx(0.25 / np.sin(np.pi / 8))
    assert len(amplitude) == 21  # of 24, without 8, 16 and 24


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
def test_it_is_a_piano_with_nothing_above_the_rate(rate):
    piano = formula_piano(rate)
    assert 0.40 * rate < piano.frequency.max() < 0.45 * rate or rate == 48000
    assert set(piano.key) == set(range(88))
    again = Piano.from_tensors(piano.tensors())
    np.testing.assert_array_equal(again.frequency, piano.frequency)
