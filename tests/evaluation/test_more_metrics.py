"""Log-mel distance, quiet floor, broadband jumps and Zimtohrli: known cases, and their definitions."""

import math
import sys

import numpy as np
import pytest
from support.formula_signals import RATE, evaluate, melody, noise, sine

from diffsynth.evaluation import registry
from diffsynth.evaluation.jumps import jumps_per_minute
from diffsynth.evaluation.log_mel import log_mel_distance
from diffsynth.evaluation.metrics import magnitudes
from diffsynth.evaluation.quiet import quiet_floor

pytestmark = pytest.mark.filterwarnings("error")


def frames_of(signal, size, hop):
    """Windows [frame, size] centred on multiples of the hop, silence around the signal."""
    padded = np.pad(signal.astype("f8"), size // 2)
    return np.stack([padded[at : at + size] for at in range(0, len(signal) + 1, hop)])


def spectrum(signal, size, hop):
    """|DFT| of Hann windows, [bin, frame]."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return np.abs(np.fft.rfft(window * frames_of(signal, size, hop))).T


def db(ratio):
    return 20 * math.log10(ratio)


# Log-mel distance.


def log_mel(target, prediction):
    return log_mel_distance(*(magnitudes(signal, 2048, 512) for signal in (target, prediction)), RATE)


def mel_to_hz(mel):
    """Slaney's scale: 200/3 Hz a mel below 1 kHz, 27 mel for a factor of 6.4 above."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def mel_triangles(rate):
    """128 triangles of equal area between 30 Hz and half the rate, [band, bin]."""
    low, high = 30 * 3 / 200, 15 + 27 * math.log(rate / 2 / 1000) / math.log(6.4)
    edges = mel_to_hz(np.linspace(low, high, 130))
    bins = np.arange(1025) * rate / 2048
    rows = []
    for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
        triangle = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
        rows.append(np.maximum(triangle, 0) * 2 / (right - left))
    return np.stack(rows)


def test_log_mel_distance_equals_its_definition():
    target, prediction = melody(1), melody(2) + 0.01 * noise(2.0, 3)
    powers = [mel_triangles(RATE) @ spectrum(s, 2048, 512) ** 2 for s in (target, prediction)]
    floor = powers[0].max() / 10**8
    expected = np.abs(10 * np.log10((powers[0] + floor) / (powers[1] + floor))).mean()
    assert expected > 5
    assert log_mel(target, prediction) == pytest.approx(expected, rel=1e-4)


def test_log_mel_distance_of_a_softer_copy():
    target = noise(3.0)
    assert log_mel(target, target / np.float32(math.sqrt(2))) == pytest.approx(10 * math.log10(2), abs=1e-3)
    assert evaluate(target, target / np.float32(math.sqrt(2)))["log_mel_db"] == pytest.approx(0, abs=1e-4)
    # Half of it 3 dB softer: the level of the whole is matched, so one half is too loud, one too soft.
    half = target.copy()
    half[len(half) // 2 :] /= math.sqrt(2)
    louder = 10 * math.log10(4 / 3)
    softer = 10 * math.log10(2) - louder
    assert evaluate(target, half)["log_mel_db"] == pytest.approx((louder + softer) / 2, abs=0.02)


def test_log_mel_distance_of_independent_noise():
    # Without bands each power is exponential: E|difference of logs| = 2 ln 2. Bands average it away.
    expected = 2 * math.log(2) * 10 / math.log(10)
    assert 0.2 * expected < log_mel(noise(3.0, 1), noise(3.0, 2)) < 0.9 * expected


def test_log_mel_distance_counts_80_db():
    target, silence = noise(2.0), np.zeros(2 * RATE, "f4")
    assert log_mel(silence, silence) == 0.0
    assert 60 < log_mel(target, silence) < 80
    assert log_mel(silence, target) == pytest.approx(log_mel(target, silence))
    # 100 dB below the loudest band nothing counts
    assert log_mel(target, target + 1e-5 * noise(2.0, 7)) < 0.001


# Quiet floor.


def with_pauses(level, seed, seconds=20.0):
    """A tone with a second of pause in every ten, and white noise of an RMS level in dB all through."""
    time = np.arange(round(seconds * RATE)) / RATE
    hiss = np.random.default_rng(seed).standard_normal(len(time)) * 10 ** (level / 20)
    return (0.3 * np.sin(2 * np.pi * 440 * time) * (time % 10 > 1) + hiss).astype("f4")


def test_quiet_floor_equals_its_definition():
    target, prediction = with_pauses(-60, 1), with_pauses(-45, 2)
    levels = [np.sqrt((frames_of(s, 2048, 512) ** 2).mean(axis=1)) for s in (target, prediction)]
    quiet = levels[0] <= np.sort(levels[0])[math.floor(0.05 * (len(levels[0]) - 1))]
    expected = db(levels[1][quiet].mean() / levels[0][quiet].mean())
    assert quiet_floor(target, prediction) == pytest.approx(expected, abs=0.02)
    assert expected == pytest.approx(15, abs=0.2)


@pytest.mark.parametrize(("target", "prediction"), [(-60, -60), (-60, -54), (-54, -60), (-70, -50)])
def test_quiet_floor_of_hiss_at_a_level(target, prediction):
    found = evaluate(with_pauses(target, 1), with_pauses(prediction, 2))["quiet_floor_db"]
    assert found == pytest.approx(prediction - target, abs=0.2)


def test_quiet_floor_of_silence_is_100_db_below_full_scale():
    silent = with_pauses(-200, 1)
    assert quiet_floor(with_pauses(-60, 1), silent) == pytest.approx(-40, abs=0.3)
    assert quiet_floor(silent, with_pauses(-70, 1)) == pytest.approx(30, abs=0.3)
    assert quiet_floor(silent, with_pauses(-110, 1)) == 0.0


# Broadband jumps.


def soft(seconds=6.0, seed=0):
    """A tone and a soft floor of noise."""
    return sine(440, seconds) + np.float32(1e-3) * noise(seconds, seed)


def clicks(every, seconds=6.0, first=64, hop=128):
    """Single samples in the middle of every so-manieth frame, in which alone they are seen at full height."""
    signal = np.zeros(round(seconds * RATE), "f4")
    signal[first * hop :: every * hop] = 0.05
    return signal


def jumps(target, prediction):
    return jumps_per_minute(*(magnitudes(signal, 256, 128) for signal in (target, prediction)), RATE)


@pytest.mark.parametrize("every", [25, 100])
def test_clicks_count_at_their_rate(every):
    found = jumps(soft(), soft(seed=1) + clicks(every))
    count = np.count_nonzero(clicks(every))
    assert found == pytest.approx(count / 6 * 60, rel=0.002)
    assert evaluate(soft(), soft(seed=1) + clicks(every))["jumps_per_minute"] == pytest.approx(found)


def test_clicks_of_the_recording_do_not_count():
    clicking = soft(seed=1) + clicks(100)
    assert jumps(clicking, clicking) == 0.0
    assert jumps(clicking, soft(seed=2)) == 0.0
    assert jumps(soft() + clicks(100, first=64 + 4), clicking) == 0.0
    assert jumps(soft() + clicks(100, first=64 + 5), clicking) > 0.0


def test_what_rises_in_a_part_of_the_band_is_no_jump():
    spectrum_of_clicks = np.fft.rfft(clicks(100))
    frequency = np.fft.rfftfreq(6 * RATE, 1 / RATE)
    for share, many in ((0.5, False), (0.75, True)):  # of the bins above a quarter of the band
        kept = frequency < RATE / 8 + share * 3 / 8 * RATE
        part = np.fft.irfft(spectrum_of_clicks * kept).astype("f4")
        assert (jumps(soft(), soft(seed=1) + part) > 100) == many


def test_jumps_equal_their_definition():
    random = np.random.default_rng(4)
    time = np.arange(3 * RATE)
    target, prediction = (
        (random.standard_normal(len(time)) * np.exp(6 * random.standard_normal(101))[time * 100 // len(time)])
        * 1e-3
        for _ in range(2)
    )

    def shares(signal):
        magnitude = spectrum(signal, 256, 128)
        logs = np.log(magnitude + 1e-6 * magnitude.max())
        return [
            (now[32:] - before[32:] > 1.5).mean() for before, now in zip(logs.T, logs.T[1:], strict=False)
        ]

    known, found = shares(target), shares(prediction)
    counted = [share > 0.6 and max(known[max(0, i - 4) : i + 5]) < 0.3 for i, share in enumerate(found)]
    assert 5 < sum(counted) < 60
    minutes = len(found) * 128 / RATE / 60
    result = jumps(target.astype("f4"), prediction.astype("f4"))
    assert result == pytest.approx(sum(counted) / minutes, rel=1e-6)


# Zimtohrli, and what happens where it is not installed.


def test_zimtohrli_is_the_mean_over_stretches_of_8_s():
    pyohrli = pytest.importorskip("zimtohrli").Pyohrli()
    seconds = np.arange(round(12.5 * 48000)) / 48000
    target = (0.3 * np.sin(2 * np.pi * 440 * seconds)).astype("f4")
    prediction = (0.3 * np.sin(2 * np.pi * 440 * seconds + (seconds > 9) * seconds)).astype("f4")
    pair = registry.Pair(target, prediction, 48000, None)
    edge = 8 * 48000
    parts = [
        pyohrli.distance(target[part], pair.prediction[part]) for part in (slice(edge), slice(edge, None))
    ]
    assert parts[0] < parts[1]
    assert registry.zimtohrli(pair) == pytest.approx(np.mean(parts))
    shorter = registry.Pair(target[: edge + edge // 2], prediction[: edge + edge // 2], 48000, None)
    assert registry.zimtohrli(shorter) == pytest.approx(parts[0], abs=1e-4)  # 4 s are left out


def test_zimtohrli_hears_more_noise():
    pytest.importorskip("zimtohrli")
    found = [evaluate(melody(1), melody(1) + level * noise(2.0, 3))["zimtohrli"] for level in (0, 0.003, 0.3)]
    assert found[0] == 0.0
    assert found[0] < found[1] < found[2]


def test_without_its_package_a_metric_is_absent_and_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "zimtohrli", None)
    by_default = {
        name for name, metric in registry.METRICS.items() if not (metric.of_notes or metric.of_image)
    }
    assert set(evaluate(melody(1), melody(1))) == by_default - {"zimtohrli"}
    assert registry.absent() == (
        "not measured: Zimtohrli distance (pip install 'diffsynth-piano[perceptual]')"
    )


def test_nothing_is_named_where_all_is_installed():
    pytest.importorskip("zimtohrli")
    assert registry.absent() == ""
