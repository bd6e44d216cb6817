"""Releases of a sampled instrument are found in its tails."""

from dataclasses import replace

import numpy as np
import pytest

from diffsynth.fitting.damping import RATES, REACH, measure_releases
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.piano.playing import play_whole

RATE = 24000
TRUE = 9.0  # 1/s


def take(piano, keys, seed=0):
    """Keys in disorder, overlapping, with some noise; nothing is damped twice."""
    random, rows = np.random.default_rng(seed), []
    for number, key in enumerate(random.permutation(np.repeat(keys, 4)).tolist()):
        at = 0.1 + 0.25 * number
        rows += [(at, NOTE_ON, key, int(random.integers(40, 110))), (at + 0.2, NOTE_OFF, key, 0)]
    events = to_samples(make_events(sorted(rows)), RATE)
    audio = play_whole(piano, events, RATE, 128, int(events["position"].max()) + RATE)
    return Take(audio + 1e-4 * random.standard_normal(len(audio)).astype(np.float32), events, RATE)


KEYS = np.arange(45, 61, 3)  # MIDI numbers


def distance():
    """[88] keys from each key to the nearest of those that are struck."""
    return np.abs(np.arange(88)[:, None] + 21 - KEYS).min(axis=1)


@pytest.mark.parametrize("before", [3.0, 40.0])
def test_the_rate_of_all_tails_is_found_wherever_keys_near_it_are_heard(piano, before):
    release = np.full(88, TRUE)
    release[KEYS[2] - 21] = 50.0  # one key is odd, and those around it are heard
    truth = replace(piano, sampled=True, release=release)
    guess = replace(truth, release=np.full(88, before))
    found = measure_releases(guess, [take(truth, KEYS)])
    inside = (np.arange(88) + 21 > KEYS[0]) & (np.arange(88) + 21 < KEYS[-1])
    assert (np.abs(np.log(found[inside] / TRUE)) < np.log(RATES[2] / RATES[1])).all()
    np.testing.assert_array_equal(found[distance() > REACH], before)


def test_tails_that_are_wrong_in_level_and_phase_tell_all_the_same(piano):
    truth = replace(piano, sampled=True, release=np.full(88, TRUE))
    random = np.random.default_rng(5)
    wrong = random.uniform(0.5, 1.5, len(piano.key)) * np.exp(1j * random.uniform(-1, 1, len(piano.key)))
    guess = replace(truth, amplitude=wrong * truth.amplitude, release=np.full(88, 40.0))
    found = measure_releases(guess, [take(truth, KEYS)])
    assert (np.abs(np.log(found[distance() == 0] / TRUE)) < 1.5 * np.log(RATES[2] / RATES[1])).all()


def test_keys_that_nothing_damps_keep_ringing(piano):
    truth = replace(piano, sampled=True, release=np.zeros(88))
    found = measure_releases(replace(truth, release=np.full(88, TRUE)), [take(truth, KEYS)])
    assert (found[distance() == 0] <= 1.0).all()


def test_a_piano_whose_tails_are_not_heard_keeps_its_rates(piano):
    silent = take(piano, np.arange(45, 61, 3))
    nothing = replace(silent, events=silent.events[:0])
    np.testing.assert_array_equal(measure_releases(piano, [nothing]), piano.release)
