"""Sounds of a listening test: one loudness, one moment, and an anchor as the recommendation wants it."""

import numpy as np
import pytest
from scipy import signal

from diffsynth.audio.files import write_audio
from diffsynth.errors import UserError
from diffsynth.listening.clips import Clip
from diffsynth.listening.loudness import integrated_loudness, k_weighting
from diffsynth.listening.stimuli import (
    anchor_filter,
    digests,
    low_anchor,
    match_loudness,
    read_stimuli,
)

# ITU-R BS.1770-4, tables 1 and 2: the K-weighting at 48 kHz.
SHELF = [1.53512485958697, -2.69169618940638, 1.19839281085285], [1.0, -1.69065929318241, 0.73248077421585]
HIGHPASS = [1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621]


def loudness_by_tables(samples):
    """LUFS at 48 kHz by the tables of the recommendation, with both gates."""
    weighted = signal.lfilter(*HIGHPASS, signal.lfilter(*SHELF, samples.astype(float)))
    starts = range(0, len(samples) - 19200 + 1, 4800)
    power = np.array([np.mean(weighted[start : start + 19200] ** 2) for start in starts])
    power = power[-0.691 + 10 * np.log10(power) > -70]
    gate = -0.691 + 10 * np.log10(power.mean()) - 10
    return -0.691 + 10 * np.log10(power[-0.691 + 10 * np.log10(power) > gate].mean())


def coloured(seed, colour, level, seconds=3.0):
    """Noise at 48 kHz whose spectrum and level over time are its own."""
    rng = np.random.default_rng(seed)
    noise = signal.lfilter([1.0], [1.0, -colour], rng.standard_normal(round(48000 * seconds)))
    return (level * noise * np.linspace(0.01, 1, len(noise))).astype(np.float32)


def test_all_stimuli_have_the_loudness_of_the_recommendation_and_no_peak_is_cut():
    stimuli = {
        "a": {"x": coloured(0, 0.9, 0.02), "y": coloured(1, -0.5, 0.2)},
        "b": {"x": coloured(2, 0, 0.01)},
    }
    matched, level = match_loudness(stimuli, 48000)
    measured = [loudness_by_tables(samples) for systems in matched.values() for samples in systems.values()]
    assert level == -23.0
    np.testing.assert_allclose(measured, -23.0, atol=0.02)


def test_a_high_peak_lowers_all_of_them_alike():
    clicks = coloured(3, 0.5, 0.01)
    clicks[40000] = 1.0
    matched, level = match_loudness({"a": {"x": clicks, "y": coloured(4, 0.5, 0.1)}}, 48000)
    assert level < -23.0
    assert np.abs(matched["a"]["x"]).max() == pytest.approx(10 ** (-1 / 20), rel=1e-6)
    np.testing.assert_allclose([loudness_by_tables(m) for m in matched["a"].values()], level, atol=0.02)


def test_the_filters_are_those_of_the_tables_and_the_tone_of_the_recommendation_is_right():
    for found, table in zip(k_weighting(48000), (SHELF, HIGHPASS), strict=True):
        np.testing.assert_allclose(found, table, atol=1e-8)
    for rate in (16000, 24000, 44100):
        tone = np.sin(2 * np.pi * 997 * np.arange(5 * rate) / rate).astype(np.float32)
        assert integrated_loudness(tone, rate) == pytest.approx(-3.01, abs=0.05)


def test_a_silent_stimulus_is_named():
    with pytest.raises(UserError, match="a by y is silent"):
        match_loudness({"a": {"x": coloured(0, 0, 0.1), "y": np.zeros(48000, np.float32)}}, 48000)


@pytest.mark.parametrize("rate", [16000, 24000, 44100])
def test_the_anchor_passes_and_stops_what_bs1534_says(rate):
    coefficients = anchor_filter(rate)
    hertz = np.array([20, 1000, 3000, 3500, 4000, 4500, 6000])
    decibels = 20 * np.log10(np.abs(signal.freqz(coefficients, worN=hertz, fs=rate)[1]))
    assert np.abs(decibels[:4]).max() < 0.1
    assert decibels[4] < -25
    assert decibels[5:].max() < -50
    impulse = np.zeros(2001, np.float32)
    impulse[1000] = 1
    assert np.argmax(low_anchor(impulse, rate)) == 1000


def test_clips_are_the_same_moment_of_all_systems(tmp_path):
    ramp = np.linspace(0, 0.9, 16000, dtype=np.float32)
    write_audio(tmp_path / "aligned" / "a.flac", ramp, 8000)
    write_audio(tmp_path / "mine" / "a.wav", -ramp[:12000], 8000)
    folders = {"recording": tmp_path / "aligned", "mine": tmp_path / "mine"}
    stimuli, rate = read_stimuli(folders, [Clip("a", 1.0), Clip("a")], 0.75)
    np.testing.assert_allclose(stimuli["a@1"]["recording"], ramp[8000:14000], atol=1e-4)
    np.testing.assert_allclose(stimuli["a@1"]["mine"], [*-ramp[8000:12000], *np.zeros(2000)], atol=1e-4)
    np.testing.assert_allclose(stimuli["a"]["mine"], -ramp[:6000], atol=1e-4)
    assert rate == 8000
    assert digests(folders, [Clip("a")]).keys() == {"recording/a", "mine/a"}


@pytest.mark.parametrize(
    ("text", "clip", "label"),
    [("a", Clip("a"), "a"), ("a@2.5", Clip("a", 2.5), "a@2.5"), ("a@b@0", Clip("a@b", 0.0), "a@b")],
)
def test_clips_are_named_with_the_second_they_begin_at(text, clip, label):
    assert Clip.parse(text) == clip
    assert clip.label == label
