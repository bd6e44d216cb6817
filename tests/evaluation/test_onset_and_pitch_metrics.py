"""Metrics of onsets, pitch and chroma."""

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.formula_signals import RATE, evaluate, melody, plucks, sine

from diffsynth.evaluation import metrics

pytestmark = pytest.mark.filterwarnings("error")


def test_onset_scores_at_the_edge_of_the_window():
    times = np.array([0.5, 1.0, 1.5, 2.0])
    assert metrics.onset_scores(times, times + 0.049, 0.05) == (1.0, 1.0, 1.0)
    assert metrics.onset_scores(times, times - 0.049, 0.05) == (1.0, 1.0, 1.0)
    assert metrics.onset_scores(times, times + 0.060, 0.05) == (0.0, 0.0, 0.0)
    assert metrics.onset_scores(times, times[:1], 0.05) == (1.0, 0.25, pytest.approx(0.4))
    # one to one: two onsets near one count once
    assert metrics.onset_scores(times[:1], np.array([0.49, 0.51]), 0.05) == (0.5, 1.0, pytest.approx(2 / 3))


def test_onset_scores_without_onsets():
    none, some = np.zeros(0), np.array([1.0])
    assert metrics.onset_scores(none, none, 0.05) == (1.0, 1.0, 1.0)
    assert metrics.onset_scores(none, some, 0.05) == (0.0, 0.0, 0.0)
    assert metrics.onset_scores(some, none, 0.05) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("shift", "f1"), [(0.04, 1.0), (-0.04, 1.0), (0.06, 0.0), (-0.06, 0.0)])
def test_onsets_of_shifted_notes(shift, f1):
    times = np.arange(0.5, 3.5, 0.5)
    target, prediction = plucks(times), plucks(times + shift)
    found = metrics.onset_times(metrics.magnitudes(target, 2048, 256), RATE)
    assert found == pytest.approx(times, abs=0.03)
    assert evaluate(target, prediction)["onset_f1"] == f1


def test_missing_notes_cost_recall_and_added_notes_precision():
    times = np.arange(0.5, 3.5, 0.5)
    missing = evaluate(plucks(times), plucks(times[::2]))
    assert (missing["onset_precision"], missing["onset_recall"]) == (1.0, 0.5)
    added = evaluate(plucks(times[::2]), plucks(times))
    assert (added["onset_precision"], added["onset_recall"]) == (0.5, 1.0)
    assert missing["onset_f1"] == added["onset_f1"] == pytest.approx(2 / 3)


def test_shared_spectrum_gives_what_librosa_gives_alone():
    signal = melody(6) + melody(7)
    fine, coarse = metrics.magnitudes(signal, 2048, 256), metrics.magnitudes(signal, 2048, 512)
    assert np.array_equal(fine[:, ::2], coarse)
    onsets = librosa.onset.onset_detect(y=signal, sr=RATE, hop_length=256, units="time")
    assert len(onsets) > 4
    assert np.array_equal(metrics.onset_times(fine, RATE), onsets)
    pitches, strengths = librosa.piptrack(
        y=signal, sr=RATE, fmin=80, fmax=2000, hop_length=512, threshold=0.1
    )
    strongest = pitches[strengths.argmax(axis=0), np.arange(pitches.shape[1])]
    audible = coarse.max(axis=0) >= 1e-5
    assert audible.sum() > 50
    assert metrics.pitch_track(coarse, RATE)[audible] == pytest.approx(strongest[audible], rel=1e-4)
    chroma = librosa.feature.chroma_stft(y=signal, sr=RATE, hop_length=512)
    assert metrics.chroma(coarse, RATE)[:, audible] == pytest.approx(chroma[:, audible], abs=1e-4)


# At FFT 2048 piptrack is off by up to 0.05 bins of 12.5 Hz: 5 cents at 220 Hz, 1 at 1500 Hz.
@pytest.mark.parametrize(("frequency", "bias"), [(220.0, 11), (440.0, 6), (800.0, 4), (1500.0, 2)])
@pytest.mark.parametrize("direction", [-1, 1])
def test_pitch_accuracy_at_50_cents(frequency, bias, direction):
    for cents, accuracy in ((50 - bias, 1.0), (50 + bias, 0.0)):
        other = sine(frequency * 2 ** (direction * cents / 1200))
        assert evaluate(sine(frequency), other)["pitch_accuracy"] == accuracy


def test_an_octave_is_another_pitch():
    assert evaluate(sine(440.0), sine(880.0))["pitch_accuracy"] == 0.0


def test_pitch_accuracy_counts_frames_with_any_pitch():
    target = np.array([440.0, 440.0, 0.0, 0.0, 220.0])
    prediction = np.array([440.0, 0.0, 330.0, 0.0, 225.0])  # 39 cents off at the end
    assert metrics.pitch_accuracy(target, prediction, 50.0) == 0.5
    assert metrics.pitch_accuracy(prediction, target, 50.0) == 0.5
    assert metrics.pitch_accuracy(target, prediction, 30.0) == 0.25
    assert metrics.pitch_accuracy(np.zeros(3), np.zeros(3), 50.0) == 1.0


def test_pitch_lies_between_80_and_2000_hz():
    for frequency, expected in ((60.0, 0.0), (90.0, 90.0), (1900.0, 1900.0), (2300.0, 0.0)):
        track = metrics.pitch_track(metrics.magnitudes(sine(frequency), 2048, 512), RATE)
        assert np.median(track) == pytest.approx(expected, rel=0.02)


def test_inaudible_frames_have_neither_pitch_nor_chroma():
    loud_then_inaudible = sine(440.0)
    loud_then_inaudible[RATE:] *= 1e-5
    spectrum = metrics.magnitudes(loud_then_inaudible, 2048, 512)
    track, chroma = metrics.pitch_track(spectrum, RATE), metrics.chroma(spectrum, RATE)
    assert track[:48] == pytest.approx(440.0, rel=0.01)
    assert not track[53:].any()
    assert chroma[9, :48] == pytest.approx(1.0)  # A
    assert not chroma[:, 53:].any()


def test_polyphony_accuracy_of_two_chords():
    c_major, c_minor = (
        sum(sine(f) for f in chord) / 3 for chord in ((523.25, 659.26, 783.99), (523.25, 622.25, 783.99))
    )
    chroma = metrics.chroma(metrics.magnitudes(c_major, 2048, 512), RATE)[:, 20:80].mean(axis=1)
    assert set(np.argsort(chroma)[-3:]) == {0, 4, 7}
    # Two of twelve classes, E and E flat, change places: 1 - 2/12, but for leakage between them.
    assert evaluate(c_major, c_minor)["polyphony_accuracy"] == pytest.approx(1 - 2 / 12, abs=0.04)
    octaves = metrics.polyphony_accuracy(
        *(metrics.chroma(metrics.magnitudes(sine(f), 2048, 512), RATE) for f in (440.0, 880.0))
    )
    assert octaves > 0.97


def test_polyphony_accuracy_by_hand():
    target, prediction = np.zeros((12, 2)), np.zeros((12, 2))
    target[0], prediction[0, 0], prediction[3, 1] = 1.0, 0.4, 0.6
    assert metrics.polyphony_accuracy(target, prediction) == pytest.approx(1 - (0.6 + 1.0 + 0.6) / 24)


@given(
    target=st.lists(st.floats(0, 9), max_size=8).map(sorted),
    prediction=st.lists(st.floats(0, 9), max_size=8).map(sorted),
)
def test_exchanging_onsets_exchanges_precision_and_recall(target, prediction):
    there = metrics.onset_scores(np.array(target), np.array(prediction), 0.05)
    back = metrics.onset_scores(np.array(prediction), np.array(target), 0.05)
    assert there == pytest.approx((back[1], back[0], back[2]))
