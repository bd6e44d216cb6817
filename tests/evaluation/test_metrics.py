import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.formula_signals import PERFECT, RATE, evaluate, melody, noise, plucks, sine

from diffsynth.errors import UserError
from diffsynth.evaluation import metrics
from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.registry import evaluate_pair

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("without_extras")]
ONE_SIDED = {"log_mel_db", "quiet_floor_db", "jumps_per_minute"}  # the target decides what counts


def test_identical_signals_are_perfect():
    assert evaluate(melody(0), melody(0)) == PERFECT


def test_independent_noise_scores_what_statistics_say():
    scores = evaluate(noise(20.0, seed=1), noise(20.0, seed=2))
    # Magnitudes of white noise are Rayleigh distributed: E(R - G)^2 / E R^2 = 2 - pi / 2.
    assert scores["spectral_convergence"] == pytest.approx(math.sqrt(2 - math.pi / 2), abs=0.005)
    # Powers are exponential, so the natural log of their ratio is logistic, of variance pi^2 / 3.
    expected = math.pi / math.sqrt(3) / math.log(10)
    assert scores["log_spectral_distance"] == pytest.approx(expected, abs=0.01)
    # The difference of two normal variables of deviation s has E|d| = 2 s / sqrt(pi), E d^2 = 2 s^2.
    assert scores["l1"] == pytest.approx(0.2 / math.sqrt(math.pi), rel=0.01)
    assert scores["l2"] == pytest.approx(0.02, rel=0.01)
    assert scores["pitch_accuracy"] < 0.1
    assert scores["onset_f1"] < 0.75


def test_waveform_differences_by_hand():
    target = np.tile(np.float32([0.5, -0.5]), 5000)
    prediction = target.copy()
    prediction[:5000] *= -1  # same RMS; the first half is off by 1
    scores = evaluate(target, prediction)
    assert (scores["l1"], scores["l2"]) == (0.5, 0.5)


def test_only_the_common_length_counts():
    longer = np.concatenate([melody(2), noise()])
    assert evaluate(melody(1), longer) == evaluate(melody(1), melody(2))
    assert evaluate(longer, melody(1)) == evaluate(melody(2), melody(1))
    with pytest.raises(UserError, match="no samples"):
        evaluate(np.zeros(0, "f4"), melody(1))


def direct_spectrum(signal, size):
    """|STFT| by its definition: a Fourier matrix on windowed frames, silence around the signal."""
    hop = size // 4
    padded = np.pad(signal.astype(np.float64), size // 2)
    starts = range(0, len(signal) + 1, hop)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size)
    return np.abs(fourier @ np.stack([window * padded[s : s + size] for s in starts], axis=1))


def test_spectral_convergence_equals_its_definition():
    target, prediction = noise(0.5, 3) + sine(330, 0.5), noise(0.5, 4) + sine(300, 0.5)
    scaled = prediction * np.sqrt(np.mean(target.astype("f8") ** 2) / np.mean(prediction.astype("f8") ** 2))
    expected = []
    for size in (256, 512, 2048):
        r, g = direct_spectrum(target, size), direct_spectrum(scaled, size)
        expected.append(np.sqrt(np.sum((r - g) ** 2) / np.sum(r**2)))
    config = Evaluate([256, 512, 2048], 0.05, 50.0)
    result = evaluate_pair(target, prediction, RATE, config)
    assert result["spectral_convergence"] == pytest.approx(np.mean(expected), rel=1e-5)


def test_spectral_convergence_of_known_spectra():
    spectrum = np.float32([[3.0, 0.0], [0.0, 4.0]])
    assert metrics.spectral_convergence(spectrum, 0.75 * spectrum) == 0.25
    assert metrics.spectral_convergence(spectrum, np.float32([[0.0, 0.0], [0.0, 4.0]])) == pytest.approx(0.6)
    assert metrics.spectral_convergence(spectrum, 0 * spectrum) == 1.0
    assert metrics.spectral_convergence(0 * spectrum, spectrum) == 1.0


def test_magnitudes_put_full_scale_at_one():
    spectrum = metrics.magnitudes(sine(RATE / 16, amplitude=0.25), 1024, 256)
    assert spectrum[64, 10:-10] == pytest.approx(0.25, abs=1e-5)


def test_log_spectral_distance_by_hand():
    loud = np.full((4, 3), 0.1, "f4")
    assert metrics.log_spectral_distance(loud, loud / 10) == pytest.approx(2.0)  # 20 dB
    half = loud.copy()
    half[:2] /= 10
    assert metrics.log_spectral_distance(loud, half) == pytest.approx(math.sqrt(2.0))
    frames = loud.copy()
    frames[:, 0] *= 10
    assert metrics.log_spectral_distance(loud, frames) == pytest.approx(2.0 / 3)  # one of three frames
    quiet = np.full((4, 3), 1e-4, "f4")  # -80 dB, the floor lies at -100 dB
    assert metrics.log_spectral_distance(quiet, quiet / 1000) == pytest.approx(2.0)
    assert metrics.log_spectral_distance(quiet / 100, 0 * quiet) == 0.0


def test_level_matching_removes_a_gain_of_20_db():
    target = melody(5)
    quieter = evaluate(target, target / 10)
    assert quieter["log_spectral_distance"] == pytest.approx(0.0, abs=1e-4)
    assert quieter["level_difference_db"] == pytest.approx(20.0, abs=1e-4)


def test_level_difference_finds_the_worst_ten_seconds():
    target = sine(1000, 30.0)
    prediction = target.copy()
    prediction[10 * RATE : 20 * RATE] /= 2
    expected = 20 * math.log10(2)
    assert metrics.level_difference(target, prediction, RATE) == pytest.approx(expected, abs=1e-3)
    assert metrics.level_difference(prediction, target, RATE) == pytest.approx(expected, abs=1e-3)
    # half a window without sound is 3 dB; what the last second lacks is seen by the last window
    silent_end = np.concatenate([target[: 25 * RATE], np.zeros(5 * RATE, "f4")])
    assert metrics.level_difference(target, silent_end, RATE) == pytest.approx(10 * math.log10(2), abs=1e-3)


def test_level_difference_counts_from_minus_80_db():
    tone = sine(1000, 3.0, amplitude=math.sqrt(2) * 0.01)  # RMS -40 dB
    assert metrics.level_difference(np.zeros_like(tone), tone, RATE) == pytest.approx(40.0, abs=1e-3)
    assert metrics.level_difference(np.zeros_like(tone), tone / 1000, RATE) == 0.0


def test_two_silent_signals_agree():
    assert evaluate(np.zeros(RATE, "f4"), np.zeros(RATE, "f4")) == PERFECT


def test_silent_prediction():
    target = plucks([0.5, 1.0, 1.5])
    scores = evaluate(target, np.zeros_like(target))
    assert scores["spectral_convergence"] == 1.0
    assert scores["l1"] == pytest.approx(np.abs(target.astype("f8")).mean())
    for name in ("onset_precision", "onset_recall", "onset_f1", "pitch_accuracy"):
        assert scores[name] == 0.0, name


def test_noise_in_place_of_silence_is_not_scaled_away():
    hiss = noise(2.0)
    scores = evaluate(np.zeros_like(hiss), hiss)
    assert scores["l2"] == pytest.approx(0.01, rel=0.02)
    assert scores["spectral_convergence"] == 1.0
    assert scores["onset_f1"] == scores["pitch_accuracy"] == 0.0
    assert scores["polyphony_accuracy"] < 0.6
    assert (
        scores["log_spectral_distance"] > 4.0
    )  # noise of -20 dB, per bin about -45, above the floor of -100
    assert scores["level_difference_db"] == pytest.approx(60.0, abs=0.1)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000), gain=st.integers(-5, 5).map(lambda k: 2.0**k))
def test_gain_of_the_prediction_changes_only_the_level_difference(seed, gain):
    target, prediction = melody(seed), melody(seed + 1)
    before, after = evaluate(target, prediction), evaluate(target, (prediction * gain).astype("f4"))
    before.pop("level_difference_db")
    after.pop("level_difference_db")
    assert after == before


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000))
def test_exchanging_target_and_prediction(seed):
    target = melody(seed)
    prediction = metrics.match_level(target, melody(seed + 1))
    there, back = evaluate(target, prediction), evaluate(prediction, target)
    # Matching levels again changes the last digit of samples, and with it a weak onset now and then.
    for name in (
        set(there) - ONE_SIDED - {"onset_precision", "onset_recall", "onset_f1", "spectral_convergence"}
    ):
        assert there[name] == pytest.approx(back[name], rel=1e-4, abs=1e-6), name


SHORT = st.one_of(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50).map(np.float32),
    st.builds(lambda n, a: np.full(n, a, "f4"), st.integers(1, 6000), st.sampled_from([0.0, 1e-6, 1.0])),
    st.builds(
        lambda n, s, a: a * noise(1.0, s)[:n],
        st.integers(1, 6000),
        st.integers(0, 9),
        st.sampled_from([1e-6, 1e-3, 1]),
    ),
)


@settings(max_examples=40, deadline=None)
@given(target=SHORT, prediction=SHORT)
@example(target=np.zeros(1, "f4"), prediction=np.array([np.finfo("f4").tiny]))
def test_short_and_silent_signals_have_finite_scores(target, prediction):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = evaluate(target, prediction)
    assert set(scores) == set(PERFECT)
    for name, value in scores.items():
        assert math.isfinite(value), name
        assert value >= 0.0 or name == "quiet_floor_db", name
        assert name not in PERFECT or PERFECT[name] == 0.0 or value <= 1.0, name
