"""Refining: a known piano is found again from polyphonic music alone, and nothing else moves."""

from dataclasses import replace

import numpy as np
import pytest

from diffsynth.fitting.refine import FASTEST, refine
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.midi.pitches import equal_tempered, string_partials
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole

RATE = 24000
SECONDS = 40
KEYS = np.array([20, 27, 32, 36, 39, 44, 51])  # with octaves and fifths: many partials coincide
PARTIALS = 6


def truth():
    k = np.arange(1, PARTIALS + 1)
    frequency = np.concatenate([string_partials(equal_tempered(key), 3e-4, PARTIALS) for key in KEYS])
    decay = np.concatenate([0.6 + 0.3 * k + 0.02 * key for key in KEYS])
    amplitude = np.concatenate([0.05 / k * np.exp(1j * (k**2 + 0.3 * key)) for key in KEYS])
    return Piano(np.repeat(KEYS, PARTIALS), frequency, decay, amplitude, np.full(88, 20.0), np.full(88, 1.5))


def guess():
    """A piano near the truth: 0.2 Hz, a quarter of the decays and half of the amplitudes are wrong."""
    random, true = np.random.default_rng(8), truth()
    turn = random.standard_normal(len(true.key)) + 1j * random.standard_normal(len(true.key))
    return replace(
        true,
        frequency=true.frequency + 0.2 * random.standard_normal(len(true.key)),
        decay=true.decay * np.exp(0.25 * random.standard_normal(len(true.key))),
        amplitude=true.amplitude * (1 + 0.35 * turn),
    )


def music(keys=KEYS):
    """Never fewer than two keys at a time, each note long enough to meet the next."""
    random, rows = np.random.default_rng(4), []
    for key in keys:
        time = random.uniform(0.0, 0.5)
        while time < SECONDS - 2:
            end = time + random.uniform(0.4, 1.6)
            rows.append((time, NOTE_ON, int(key) + 21, int(random.integers(40, 110))))
            rows.append((end, NOTE_OFF, int(key) + 21, 0))
            time = end + random.uniform(0.01, 0.8)
    return to_samples(make_events(rows), RATE)


def record(noise=1e-4, keys=KEYS):
    audio = play_whole(truth(), music(keys), RATE, 128, SECONDS * RATE)
    audio = audio + noise * np.random.default_rng(5).standard_normal(len(audio))
    return Take(audio.astype(np.float32), music(keys), RATE)


@pytest.fixture(scope="module")
def refined():
    return refine(guess(), [record()], 3)


def error(piano):
    wanted = play_whole(truth(), music(), RATE, 128, SECONDS * RATE)
    return np.linalg.norm(play_whole(piano, music(), RATE, 128, SECONDS * RATE) - wanted) / np.linalg.norm(
        wanted
    )


def test_a_known_piano_is_found_from_polyphonic_music(refined):
    assert error(guess()) > 0.4
    assert error(refined) < 0.02
    np.testing.assert_allclose(refined.frequency, truth().frequency, atol=0.02)
    np.testing.assert_allclose(refined.decay, truth().decay, rtol=0.05)
    distance = np.abs(refined.amplitude - truth().amplitude) / np.abs(truth().amplitude)
    assert distance.max() < 0.05


def test_what_is_not_refined_stays(refined):
    np.testing.assert_array_equal(refined.key, KEYS.repeat(PARTIALS))
    np.testing.assert_array_equal(refined.release, guess().release)
    np.testing.assert_array_equal(refined.exponent, guess().exponent)


def test_a_key_never_struck_and_modes_that_are_not_there_stay_as_they_were():
    recording = record(keys=KEYS[1:])
    start = guess()
    found = refine(start, [recording], 1)
    silent = start.key == KEYS[0]
    for name in ("frequency", "decay", "amplitude"):
        np.testing.assert_array_equal(getattr(found, name)[silent], getattr(start, name)[silent])
        assert (getattr(found, name)[~silent] != getattr(start, name)[~silent]).any()


def test_noise_moves_nothing_by_much():
    rng = np.random.default_rng(0)
    noise = 1e-2 * rng.standard_normal(SECONDS * RATE)
    audio = play_whole(truth(), music(), RATE, 128, SECONDS * RATE) + noise
    found = refine(truth(), [Take(audio.astype(np.float32), music(), RATE)], 2)
    assert error(found) < 0.02


def test_the_poles_of_attacks_stay_and_their_amplitudes_do_not():
    true = truth()
    decay = np.where(np.arange(len(true.key)) == 3, 4 * FASTEST, true.decay)
    start = replace(guess(), decay=decay)
    found = refine(start, [record()], 1)
    assert found.decay[3] == 4 * FASTEST
    assert found.frequency[3] == start.frequency[3]
    assert found.amplitude[3] != start.amplitude[3]


def test_without_passes_nothing_happens_and_the_same_comes_twice():
    start = guess()
    assert refine(start, [record()], 0) is start
    first, second = (refine(start, [record()], 1) for _ in range(2))
    np.testing.assert_array_equal(first.amplitude, second.amplitude)
    np.testing.assert_array_equal(first.frequency, second.frequency)
