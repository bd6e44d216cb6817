from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffsynth.audio.format import AudioFormat
from diffsynth.audio.mel_bands import shares_of
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SAMPLE_EVENT, SUSTAIN, UNA_CORDA
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.piano import Piano
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField, band_centres
from diffsynth.representation.normaliser import MAX_GAIN, MIN_SCALE, Moments, Normaliser
from diffsynth.representation.targets import Targets

AUDIO = AudioFormat(sample_rate=24000, frame=128)
FEATURES = Features(64, 0, highest=10500.0, knee=700.0, window=1024, floor=-80.0, hop=1, ages=[1.0])
PIANO = Piano(
    key=np.array([0, 39, 39]),
    frequency=np.array([30.0, 261.6, 12000.0]),
    decay=np.full(3, 0.5),
    amplitude=np.array([0.2, 0.1j, 0.01]),
    release=np.full(88, 30.0),
    exponent=np.full(88, 2.0),
)
FIELD = GainField(PIANO, AUDIO, FEATURES)


def mel(frequency):
    return 1127.01 * np.log(1 + frequency / 700)  # the same scale, O'Shaughnessy 1987


def events_of(*rows):
    return np.array(list(rows), dtype=SAMPLE_EVENT)


@given(st.lists(st.floats(0, 1e5), min_size=1), st.integers(2, 100))
def test_band_weights_sum_to_one_at_any_frequency(frequencies, bands):
    weights = shares_of(np.array(frequencies), band_centres(replace(FEATURES, bands=bands)))
    assert weights.shape == (bands, len(frequencies))
    assert weights.min() >= 0
    assert (weights > 0).sum(axis=0).max() <= 2
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-12)


def test_bands_are_equally_spaced_in_mel():
    centres = band_centres(FEATURES)
    np.testing.assert_allclose(centres[[0, -1]], [40.0, 10500.0])
    assert (np.diff(centres) > 0).all()
    np.testing.assert_allclose(np.diff(mel(centres)), (mel(10500) - mel(40)) / 63, rtol=1e-4)
    np.testing.assert_allclose(shares_of(centres, centres), np.eye(64), atol=1e-9)
    half = shares_of(np.array([700 * (np.exp((mel(centres[4]) + mel(centres[5])) / 2254.02) - 1)]), centres)
    np.testing.assert_allclose(half[4:6, 0], [0.5, 0.5], atol=1e-4)


def tone(frequency, amplitude, seconds=0.5):
    t = np.arange(int(seconds * 24000)) / 24000
    return (amplitude * np.sin(2 * np.pi * frequency * t)).astype(np.float32)


NOISE = (0.1 * np.random.default_rng(0).standard_normal(12000)).astype(np.float32)


def gains_of(recording, excitation):
    return Targets(FEATURES, AUDIO)(FIELD.levels(recording, excitation))


@pytest.mark.parametrize("g", [0.3, 1.0, 2.5])
def test_gain_of_a_signal_against_itself(g):
    gains, weight = gains_of(10 * g * NOISE, 10 * NOISE)
    assert gains.shape == weight.shape == (12000 // 128, 64)
    # Bands of at least one bin, 30 dB or more above the floor, which changes little.
    np.testing.assert_allclose(gains[:, 20:], np.log(g), atol=1e-3)


def test_gains_are_limited():
    assert gains_of(0.9 * NOISE, 1e-3 * NOISE)[0].max() == np.float32(MAX_GAIN)
    assert gains_of(1e-3 * NOISE, 0.9 * NOISE)[0].min() == np.float32(-MAX_GAIN)


def test_silence_has_no_gain_and_no_weight():
    zero = np.zeros(6400, np.float32)
    gains, weight = gains_of(zero, zero)
    assert not gains.any()
    assert not weight.any()


def test_far_below_the_floor_nothing_counts():
    gains, weight = gains_of(tone(1000, 1e-6), tone(1000, 3e-6))
    assert np.abs(gains).max() < 1e-2
    assert weight.max() < 1e-3


def test_weight_is_logarithmic_above_the_floor():
    # A tone of -40 dB in one band: 10^4 times the floor counts fully, half the decibels half.
    frequency = float(band_centres(FEATURES)[40])
    for decibel, expected in [(-40, 1.0), (-60, 0.5), (-20, 1.0)]:
        amplitude = np.sqrt(2) * 10 ** (decibel / 20)
        weight = gains_of(tone(frequency, amplitude), tone(frequency, amplitude / 9))[1]
        np.testing.assert_allclose(weight[20:-20, 40], expected, atol=0.01)


def test_weight_falls_with_the_distance_to_the_loudest_band():
    loud, soft = band_centres(FEATURES)[[55, 30]]
    signal = tone(loud, np.sqrt(2) * 0.1) + tone(soft, np.sqrt(2) * 0.001)
    weight = gains_of(signal, signal)[1][20:-20]
    # The soft tone is at -60 dB: half way up from the floor, and 40 dB below the loud one: a hundredth.
    np.testing.assert_allclose(weight[:, 55], 1.0, atol=1e-4)
    np.testing.assert_allclose(weight[:, 30], 0.5 * 0.01, atol=3e-4)


def test_levels_are_mean_squares_in_bands():
    # Where excitation is silent the gain is that over the floor: here 10 dB (1.15 nepers).
    frequency = float(band_centres(FEATURES)[50])
    amplitude = np.sqrt(2 * 9e-8)
    gains, _ = gains_of(tone(frequency, amplitude), np.zeros(12000, np.float32))
    # A part of the window's main lobe lies in the bands beside it.
    inside = np.sum(np.expm1(2 * gains[20:-20].astype(float)), axis=1) * 1e-8
    np.testing.assert_allclose(inside, 9e-8, rtol=5e-3)


def test_gains_belong_to_the_end_of_their_frame():
    # A step up by 1 neper at the end of frame 39: centred there, the window sees half of each power.
    signal = NOISE * np.where(np.arange(12000) < 40 * 128, 1, np.e).astype(np.float32)
    gains = gains_of(signal, NOISE)[0][:, 30:].mean(axis=1)
    np.testing.assert_allclose(gains[:35], 0, atol=1e-3)
    np.testing.assert_allclose(gains[44:-5], 1, atol=1e-3)
    np.testing.assert_allclose(gains[39], 0.5 * np.log((1 + np.e**2) / 2), atol=0.06)


def test_mode_gains_interpolate_log_gains_between_bands():
    np.testing.assert_allclose(FIELD.mode_gains(np.full((5, 64), -0.7, np.float32)), np.exp(-0.7), rtol=1e-6)
    gains = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    centres = mel(band_centres(FEATURES))
    expected = [[np.exp(np.interp(mel(f), centres, row)) for f in PIANO.frequency] for row in gains]
    np.testing.assert_allclose(FIELD.mode_gains(gains), expected, rtol=1e-3)


def test_condition_by_hand():
    bank = Bank(PIANO, 24000, 128)
    events = events_of((64, NOTE_ON, 60, 127), (200, CONTROL, SUSTAIN, 127), (300, CONTROL, UNA_CORDA, 50))
    condition = FIELD.condition(bank.process(events, 4))
    assert condition.shape == (4, GainField.width(FEATURES)) == (4, 64 + 88 + 88 + 3)
    assert condition.dtype == np.float32
    t = (np.arange(1, 5) * 128 - 64) / 24000
    power = 0.5 * (127 / 64) ** 4 * np.exp(-t) * np.array([[0.1**2], [0.01**2]])  # of the two modes of key 39
    expected = np.zeros((4, 243))
    weight = shares_of(np.array([261.6]), band_centres(FEATURES))[:, 0]
    expected[:, :64] = np.log10(1 + power[0][:, None] * weight / 1e-8) / 4
    expected[:, 63] = np.log10(1 + power[1] / 1e-8) / 4  # 12 kHz belongs to the last band
    expected[:, 64 + 39] = np.log10(1 + power.sum(axis=0) / 1e-8) / 4
    expected[0, 64 + 88 + 39] = 1.0
    expected[1:, 240] = 1.0
    expected[2:, 242] = 50 / 127
    np.testing.assert_allclose(condition, expected, atol=1e-5)


def test_condition_of_silence_is_zero():
    assert not FIELD.condition(Bank(PIANO, 24000, 128).process(events_of(), 8)).any()


ROWS = st.lists(
    st.tuples(
        st.integers(0, 16 * 128 - 1),
        st.sampled_from([NOTE_ON, NOTE_OFF, CONTROL]),
        st.sampled_from([21, 60, 64, 66, 67]),
        st.integers(0, 127),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(1, 15))
def test_condition_knows_no_future_and_no_block_size(rows, border):
    events = events_of(*sorted(rows))
    whole = FIELD.condition(Bank(PIANO, 24000, 128).process(events, 16))
    bank = Bank(PIANO, 24000, 128)
    late = events["position"] >= border * 128
    past = FIELD.condition(bank.process(events[~late], border))
    np.testing.assert_allclose(past, whole[:border], atol=1e-6)
    rest = events[late].copy()
    rest["position"] -= border * 128
    np.testing.assert_allclose(FIELD.condition(bank.process(rest, 16 - border)), whole[border:], atol=1e-4)


def test_normaliser_moments_by_hand():
    gains = np.array([[[1.0, 5.0], [3.0, 5.0]], [[7.0, 5.0], [100.0, 5.0]]], np.float32)
    weight = np.array([[[1.0, 1.0], [1.0, 1.0]], [[2.0, 1.0], [0.0, 1.0]]], np.float32)
    found = Moments.of(gains, weight).normaliser()
    # Weighted: (1 + 3 + 2 * 7) / 4 = 4.5; ((3.5)^2 + (1.5)^2 + 2 (2.5)^2) / 4 = 6.75.
    np.testing.assert_allclose(found.mean, [4.5, 5.0], rtol=1e-3)
    np.testing.assert_allclose(found.scale, [np.sqrt(6.75), MIN_SCALE], rtol=1e-3)
    parts = [Moments.of(gains[i], weight[i]) for i in (0, 1)]
    np.testing.assert_allclose((parts[0] + parts[1]).normaliser().scale, found.scale, rtol=1e-7)
    # |gains| weighted: 1 + 3 + 14 in one band, 4 times 5 in the other, over a weight of 8.
    assert (parts[0] + parts[1]).mean_db == pytest.approx(20 / np.log(10) * 38 / 8)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-2.25, 2.25, width=32), st.floats(0, 1, width=32)), min_size=1))
def test_a_normaliser_never_has_a_scale_below_its_floor(rows):
    gains, weight = np.array(rows, np.float32).T[..., None]
    found = Moments.of(gains, weight).normaliser()
    assert found.scale >= np.float32(MIN_SCALE)
    assert np.isfinite(found.mean)
    data = found.forward(gains)
    assert np.abs(data).max() < 5 / MIN_SCALE
    np.testing.assert_allclose(found.inverse(data), gains, atol=1e-5)


def test_a_band_never_heard_is_left_alone():
    found = Moments.of(np.full((9, 1), 2.0, np.float32), np.zeros((9, 1), np.float32)).normaliser()
    assert (found.mean.item(), found.scale.item()) == (0.0, np.float32(MIN_SCALE))


rows = arrays(np.float64, (7, 3), elements=st.floats(-2, 2))
weights = arrays(np.float64, (7, 3), elements=st.sampled_from([0, 0.1, 1]))


@settings(deadline=None)
@given(rows, weights, st.integers(0, 7))
def test_moments_of_parts_add_up_to_those_of_the_whole(gains, weight, border):
    whole = Moments.of(gains, weight)
    parts = Moments.of(gains[:border], weight[:border]) + Moments.of(gains[border:], weight[border:])
    for name, value in vars(whole).items():
        np.testing.assert_allclose(vars(parts)[name], value, atol=1e-12)
    found, total = parts.normaliser(), weight.sum(axis=0) + 1e-3
    mean = (weight * gains).sum(axis=0) / total
    deviation = np.sqrt((weight * (gains - mean) ** 2).sum(axis=0) / total)
    np.testing.assert_allclose(found.mean, mean, atol=1e-6)
    np.testing.assert_allclose(found.scale, deviation.clip(MIN_SCALE), atol=1e-6)


def test_inverse_is_limited():
    normaliser = Normaliser(np.array([0.5], np.float32), np.array([2.0], np.float32))
    x = np.array([[-131.0], [0.25], [50.0]], np.float32)
    np.testing.assert_allclose(normaliser.inverse(x), [[-MAX_GAIN], [1.0], [MAX_GAIN]], rtol=1e-6)
