"""What the fit decides does not hang on the last bit, in which processors differ."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import small_fit

from diffsynth.fitting.attack import attack_modes
from diffsynth.fitting.excerpts import Stretch, choose
from diffsynth.fitting.matrix_pencil import fit_modes, poles_of
from diffsynth.fitting.sampled_voices import find_sampled
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import CONTROL, KEYS, NOTE_OFF, NOTE_ON, SUSTAIN, make_events, to_samples
from diffsynth.piano.playing import play_whole

ROOT = Path(__file__).parents[2]
RATE = 24000
SIZE = 368
STEP = SIZE // 4 / RATE
WINDOW = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)
ENVELOPES = {
    "one": [(1.3, 2.0, 0.05 * np.exp(0.7j))],
    "two stages": [(0.2, 1.0, 0.02 * np.exp(2j)), (-0.5, 9.0, 0.06 * np.exp(-1j))],
    "beating": [(1.0, 1.5, 0.05), (-1.0, 3.0, 0.04j)],
    "three": [(0.0, 0.7, 0.03), (2.5, 3.0, 0.04j), (-3.0, 12.0, -0.05)],
}


def rounded_otherwise(values, seed):
    """Every real number moved by one unit in the last place, up or down."""
    random = np.random.default_rng(seed)
    parts = values.view(values.real.dtype)
    limit = np.where(random.random(parts.shape) < 0.5, np.inf, -np.inf).astype(parts.dtype)
    return np.nextafter(parts, limit).view(values.dtype)


@pytest.mark.parametrize("late", [0, 30])
@pytest.mark.parametrize("truth", ENVELOPES.values(), ids=ENVELOPES)
def test_the_number_of_modes_of_a_partial(truth, late):
    time = np.arange(160)[:, None] * STEP + np.arange(SIZE) / RATE
    signal = sum(a * np.exp((2j * np.pi * f - d) * time) for f, d, a in truth)
    envelope = signal @ WINDOW / WINDOW.sum()
    envelope[:late] = np.nan
    first = fit_modes(envelope, np.ones(160), STEP, WINDOW, RATE)
    for seed in range(40):
        found = fit_modes(rounded_otherwise(envelope, seed), np.ones(160), STEP, WINDOW, RATE)
        assert len(found.decay) == len(first.decay)
        np.testing.assert_allclose(found.offset, first.offset, atol=1e-6)
        np.testing.assert_allclose(found.decay, first.decay, rtol=1e-6)
        np.testing.assert_allclose(found.amplitude, first.amplitude, rtol=1e-6, atol=1e-9)


def test_there_are_no_poles_where_only_rounding_is_left():
    one = 0.05 * np.exp((2j * np.pi * 1.3 - 2.0) * STEP * np.arange(160))
    for seed in range(10):
        assert len(poles_of(rounded_otherwise(one, seed), 1, 24, STEP)) == 1
        assert len(poles_of(rounded_otherwise(one, seed), 2, 24, STEP)) == 0


def test_the_number_of_modes_of_an_attack():
    time = np.arange(round(0.1 * RATE)) / RATE
    attack = sum(
        a * np.exp(-d * time) * np.cos(2 * np.pi * f * time)
        for f, d, a in [(180.0, 60.0, 0.1), (420.0, 90.0, 0.05), (1300.0, 150.0, 0.03)]
    )
    poles, amplitudes = attack_modes(attack, 4.0, RATE, 10000.0)
    assert len(poles) == 3
    for seed in range(3):
        others, levels = attack_modes(rounded_otherwise(attack, seed), 4.0, RATE, 10000.0)
        np.testing.assert_allclose(np.sort_complex(others), np.sort_complex(poles), rtol=1e-5)
        np.testing.assert_allclose(np.sort(abs(levels)), np.sort(abs(amplitudes)), rtol=1e-4)


def test_strings_stay_strings_where_nothing_tells(piano):
    """The pedal rises once no finger is left on the key: strings and samplers sound the same."""
    rows = [(0.05, CONTROL, SUSTAIN, 127), (0.1, NOTE_ON, 60, 90), (0.2, NOTE_OFF, 60, 0)]
    rows += [(0.4, NOTE_ON, 60, 60), (0.6, NOTE_OFF, 60, 0), (0.7, CONTROL, SUSTAIN, 0)]
    events = to_samples(make_events(sorted(rows)), RATE)
    audio = play_whole(piano, events, RATE, 128, RATE)
    for seed in range(3):
        take = Take(rounded_otherwise(audio, seed), events, RATE)
        assert not find_sampled(replace(piano, sampled=True), [take]).sampled


def test_of_stretches_that_are_alike_the_first_is_taken():
    strikes = np.full(KEYS, 0.1)
    parts = [np.nextafter(strikes, 0), strikes, np.nextafter(strikes, 1)]
    stretches = [
        Stretch(Path(str(i)), np.zeros(0), 0, 100, values, np.zeros(KEYS)) for i, values in enumerate(parts)
    ]
    assert [stretch.path.name for stretch in choose(stretches, 150)] == ["0"]


@pytest.fixture(scope="module")
def fitted():
    return small_fit.fitted(small_fit.recording())


def assert_alike(found, expected):
    """The tolerance that the docs state for fits on different machines."""
    np.testing.assert_array_equal(found["key"], expected["key"])
    assert found["sampled"] == expected["sampled"]
    cents = 1200 * np.log2(found["frequency"] / expected["frequency"])
    assert np.abs(cents).max() < 0.01
    np.testing.assert_allclose(found["decay"], expected["decay"], rtol=1e-3)
    loudest = np.abs(expected["amplitude"]).max()
    np.testing.assert_allclose(found["amplitude"], expected["amplitude"], atol=1e-4 * loudest)
    np.testing.assert_allclose(found["release"], expected["release"], rtol=1e-4)
    np.testing.assert_allclose(found["exponent"], expected["exponent"], atol=1e-5)
    assert found.keys() == expected.keys()  # either has noise, or none
    for name in ("noise_floor", "noise_weight"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0.05)


def test_a_whole_fit_of_audio_that_is_rounded_otherwise(fitted):
    take = small_fit.recording()
    assert_alike(small_fit.fitted(replace(take, audio=rounded_otherwise(take.audio, 1))), fitted)


def test_a_whole_fit_with_the_kernels_of_another_processor(fitted, tmp_path):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Prescott", "PYTHONPATH": path}
    command = [sys.executable, "-m", "support.small_fit", str(tmp_path / "other.npz")]
    subprocess.run(command, env=environment, check=True)
    with np.load(tmp_path / "other.npz") as other:
        assert_alike(dict(other), fitted)
