"""Gains by the time since the last strike: by hand, over random playing, and that shares lose nothing."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from piano.test_sounding import FEATURES, PIANO, STREAMS
from support.damped_sinusoids import FRAME, RATE, events_of

from diffsynth.audio.format import AudioFormat
from diffsynth.errors import UserError
from diffsynth.midi.events import LOWEST_KEY, NOTE_ON
from diffsynth.piano.ages import shares_of_age
from diffsynth.piano.modal_bank import Bank
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField

AGES = [0.1, 0.5, 2.0]
AGED = Features(16, 8, highest=10000.0, knee=700.0, window=1024, floor=-80.0, hop=2, ages=AGES)
FEATURES_OF_ONE = 16, 0, 10000.0, 700.0, 1024, -80.0, 2, [1.0]
FIELD = GainField(PIANO, AudioFormat(RATE, FRAME), AGED)


def test_shares_of_ages_by_hand():
    ages = np.array([0.0, 0.01, 0.1, np.sqrt(0.05), 0.5, 1.0, 2.0, 1e8])
    expected = [
        [1, 1, 1, 0.5, 0, 0, 0, 0],
        [0, 0, 0, 0.5, 1, 0.5, 0, 0],
        [0, 0, 0, 0, 0, 0.5, 1, 1],
    ]
    np.testing.assert_allclose(shares_of_age(ages, AGES), expected, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(STREAMS, st.sampled_from([2, 4, 16]))
def test_ages_are_those_of_the_last_strike_of_each_key(events, frames):
    bank, block = Bank(PIANO, RATE, FRAME), frames * FRAME
    struck = events[(events["kind"] == NOTE_ON) & (events["value"] > 0)]
    for begin in range(0, 64 * FRAME, block):
        part = events[(events["position"] >= begin) & (events["position"] < begin + block)].copy()
        part["position"] -= begin
        excitation = bank.process(part, frames)
        assert excitation.ages.shape == (frames + 1, len(excitation.sounding.keys))
        for i, border in enumerate(range(begin, begin + block + 1, FRAME)):
            for key, age in zip(excitation.sounding.keys, excitation.ages[i], strict=True):
                own = struck["position"][struck["number"] == key + LOWEST_KEY]
                before = own[own < border]
                assert age == border - before.max() if len(before) else age > 1e9


@settings(max_examples=25, deadline=None)
@given(STREAMS)
def test_modes_by_age_add_up_and_gains_by_age_are_mixed_by_their_shares(events):
    bank = Bank(PIANO, RATE, FRAME)
    excitation = bank.process(events, 64)
    modes = len(excitation.sounding.modes)
    shares = FIELD.age_shares(excitation)
    whole = bank.play_modes(excitation, np.ones((65, modes), np.float32))
    parts = [bank.play_modes(excitation, share) for share in shares]
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, atol=1e-5)

    gains = np.random.default_rng(0).normal(0, 0.3, (33, AGED.values)).astype(np.float32)
    one = GainField(PIANO, AudioFormat(RATE, FRAME), Features(*FEATURES_OF_ONE))
    own = [one.mode_gains(gains[:, a : a + 16], excitation) for a in range(0, 48, 16)]
    found = FIELD.mode_gains(gains, excitation)
    np.testing.assert_allclose(found, np.sum(np.multiply(shares, own), axis=0), rtol=1e-5, atol=1e-6)


def test_a_gain_that_is_the_same_at_all_ages_is_that_of_one():
    bank = Bank(PIANO, RATE, FRAME)
    key = int(PIANO.key[0]) + LOWEST_KEY
    excitation = bank.process(events_of((10, NOTE_ON, key, 90), (9000, NOTE_ON, key, 50)), 256)
    same = np.zeros((129, AGED.values), np.float32)
    same[:, : AGED.mode_values] = np.log(2)
    np.testing.assert_allclose(FIELD.mode_gains(same, excitation), 2.0, rtol=1e-5)


def test_ages_that_do_not_rise_or_leave_noise_without_gains_are_refused():
    for late, early in pairwise([2.0, 0.5, 0.5]):
        with pytest.raises(UserError, match="ages must rise"):
            Features(16, 8, 10000.0, 700.0, 1024, -80.0, 2, [late, early])
    with pytest.raises(UserError, match="need noise_bands"):
        Features(16, 0, 10000.0, 700.0, 1024, -80.0, 2, AGES)
    assert FEATURES.values == FEATURES.mode_values == 16
    assert AGED.values == 3 * 16 + 8


def test_levels_by_age_add_up_to_that_of_all_modes():
    bank = Bank(PIANO, RATE, FRAME)
    key = int(PIANO.key[0]) + LOWEST_KEY
    rows = [(100 + 7000 * i, NOTE_ON, min(key + 12 * i, 108), 90) for i in range(4)]
    excitation = bank.process(events_of(*rows), 512)
    parts = [bank.play_modes(excitation, share) for share in FIELD.age_shares(excitation)]
    noise = np.random.default_rng(0).normal(0, 1e-3, len(parts[0])).astype(np.float32)
    whole = np.sum(parts, axis=0)
    found = 10.0 ** FIELD.levels_by_age(whole, [*parts, noise]).astype(float) - 1
    expected = 10.0 ** FIELD.levels(whole, whole, noise).astype(float) - 1
    assert found.shape[1] == 5
    loud = expected[:, 1] > 100
    assert loud.mean() > 0.1
    np.testing.assert_allclose(found[:, 1:4].sum(axis=1)[loud], expected[:, 1][loud], rtol=0.02)
    np.testing.assert_allclose(found[:, 4], expected[:, 2], rtol=1e-5)
