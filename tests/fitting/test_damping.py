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


@pytest.mark.parametrize("before", [3.0, 40.0])
def test_the_rate_of_all_tails_is_found_wherever_keys_near_it_are_heard(piano, before):
    keys = np.arange(45, 61, 3)  # MIDI numbers
    truth = replace(piano, sampled=True, release=np.full(88, TRUE))
    guess = replace(truth, release=np.full(88, before))
    found = measure_releases(guess, [take(truth, keys)])
    near = np.abs(np.arange(88)[:, None] + 21 - keys).min(axis=1) == 0
    step = RATES[1] / RATES[0]
    assert (np.abs(np.log(found[near] / TRUE)) < np.log(step)).all()
    far = np.abs(np.arange(88)[:, None] + 21 - keys).min(axis=1) > REACH
    np.testing.assert_array_equal(found[far], before)


def test_a_piano_whose_tails_are_not_heard_keeps_its_rates(piano):
    silent = take(piano, np.arange(45, 61, 3))
    nothing = replace(silent, events=silent.events[:0])
    np.testing.assert_array_equal(measure_releases(piano, [nothing]), piano.release)
