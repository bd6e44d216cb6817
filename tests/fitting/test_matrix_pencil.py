"""Modes recovered from envelopes whose modes are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth.fitting.matrix_pencil import LOUDER, MAX_DECAY, MIN_DECAY, fit_modes

RATE = 24000
SIZE = 368  # window of middle C
STEP = SIZE // 4 / RATE
WINDOW = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)


def envelope_of(modes, frames, first=0):
    """Windowed sums of modes (offset in Hz, decay in 1/s, amplitude), one frame at a time, from samples."""
    starts = (np.arange(frames) + first) * STEP
    t = starts[:, None] + np.arange(SIZE) / RATE
    signal = sum(a * np.exp((2j * np.pi * f - d) * t) for f, d, a in modes)
    return signal @ WINDOW / WINDOW.sum()


def fit(envelope):
    return fit_modes(envelope, np.ones(len(envelope)), STEP, WINDOW, RATE)


def by_decay(modes):
    order = np.argsort(modes.decay)
    return modes.offset[order], modes.decay[order], modes.amplitude[order]


ONE = [(1.3, 2.0, 0.05 * np.exp(0.7j))]
TWO = [(0.2, 1.0, 0.02 * np.exp(2j)), (-0.5, 9.0, 0.06 * np.exp(-1j))]
BEATING = [(1.0, 1.5, 0.05), (-1.0, 3.0, 0.04j)]
THREE = [(0.0, 0.7, 0.03), (2.5, 3.0, 0.04j), (-3.0, 12.0, -0.05)]


# The ridge of the amplitudes' least squares costs more, the more alike the modes are.
@pytest.mark.parametrize(
    ("truth", "decay", "amplitude"),
    [(ONE, 1e-4, 2e-4), (TWO, 1e-3, 1e-2), (BEATING, 1e-3, 2e-3), (THREE, 1e-3, 5e-3)],
    ids=["one", "two stages", "beating", "three"],
)
def test_modes_without_noise(truth, decay, amplitude):
    offsets, decays, amplitudes = by_decay(fit(envelope_of(truth, 160)))
    assert len(decays) == len(truth)
    np.testing.assert_allclose(offsets, [f for f, _, _ in truth], atol=1e-3)
    np.testing.assert_allclose(decays, [d for _, d, _ in truth], rtol=decay)
    np.testing.assert_allclose(amplitudes, [a for _, _, a in truth], atol=amplitude * 0.06)


def noise(frames, level):
    random = np.random.default_rng(3)
    return level * (random.standard_normal(frames) + 1j * random.standard_normal(frames)) / np.sqrt(2)


@pytest.mark.parametrize("truth", [ONE, TWO, BEATING, THREE], ids=["one", "two", "beating", "three"])
def test_what_modes_sound_like_survives_noise(truth):
    clean = envelope_of(truth, 160)
    found = fit(clean + noise(160, 1e-3))
    again = envelope_of(zip(found.offset, found.decay, found.amplitude, strict=True), 160)
    assert np.abs(again - clean).max() < 2e-3
    assert np.sqrt(np.mean(np.abs(again - clean) ** 2)) < 0.8e-3  # less than was added


def test_one_mode_in_noise_stays_one_mode():
    found = fit(envelope_of(ONE, 160) + noise(160, 5e-4))
    assert found.decay.shape == (1,)
    np.testing.assert_allclose(found.decay, 2.0, rtol=0.02)
    np.testing.assert_allclose(found.offset, 1.3, atol=0.01)
    np.testing.assert_allclose(found.amplitude, ONE[0][2], rtol=0.02)


def test_gaps_cost_nothing():
    envelope = envelope_of(BEATING, 160)
    envelope[[3, 4, 5, 40, 41, 120]] = np.nan
    offsets, decays, amplitudes = by_decay(fit(envelope))
    np.testing.assert_allclose(offsets, [1.0, -1.0], atol=2e-3)
    np.testing.assert_allclose(decays, [1.5, 3.0], rtol=3e-3)
    np.testing.assert_allclose(amplitudes, [0.05, 0.04j], atol=2e-4)


def test_an_envelope_that_starts_late_tells_the_onset():
    envelope = envelope_of(ONE, 160)
    envelope[:30] = np.nan
    found = fit(envelope)
    np.testing.assert_allclose(found.decay, [2.0], rtol=1e-3)
    np.testing.assert_allclose(found.amplitude, [ONE[0][2]], rtol=1e-3)


def test_the_effect_of_the_window_is_taken_out():
    fast = [(0.0, 110.0, 0.1)]  # decays by a factor of 5 within the window
    assert abs(envelope_of(fast, 40)[0]) < 0.06
    found = fit(envelope_of(fast, 40))
    np.testing.assert_allclose(found.amplitude, [0.1], rtol=1e-3)


def test_an_onset_far_above_what_was_seen_is_not_believed():
    envelope = envelope_of([(0.0, 60.0, 1.0)], 60)
    envelope[:25] = np.nan  # 0.1 s: what is seen is 1 / 300 of the onset
    found = fit(envelope)
    np.testing.assert_allclose(found.decay, [60.0], rtol=1e-3)
    np.testing.assert_allclose(np.abs(found.amplitude), [np.nanmax(np.abs(envelope))], rtol=1e-6)


def test_two_frames_are_enough_and_may_be_apart():
    np.testing.assert_allclose(fit(envelope_of(ONE, 2)).decay, [2.0], rtol=1e-3)
    envelope = envelope_of(ONE, 9)
    envelope[1:8] = np.nan
    found = fit(envelope)
    assert found.decay.tolist() == [3.0]  # nothing follows anything: a typical decay
    assert np.isfinite(found.amplitude).all()


def test_growing_envelopes_become_slow_decays():
    found = fit(envelope_of([(0.0, -0.5, 0.02)], 80))
    assert found.decay.min() >= MIN_DECAY


finite = st.floats(-1, 1)
frame = st.one_of(st.just(complex(np.nan, np.nan)), st.builds(complex, finite, finite))


@settings(deadline=None)
@given(st.lists(frame, min_size=2, max_size=70))
def test_any_envelope_gives_modes_that_are_not_louder_than_believable(frames):
    envelope = np.array(frames)
    envelope[[0, -1]] = 0.3, -0.2j
    found = fit(envelope)
    assert 1 <= len(found.decay) <= 3
    assert np.isfinite(found.offset).all()
    assert np.abs(found.amplitude).max() <= LOUDER * np.nanmax(np.abs(envelope))
    assert found.decay.min() >= MIN_DECAY
    assert found.decay.max() <= MAX_DECAY
