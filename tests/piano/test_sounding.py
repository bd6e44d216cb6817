"""Only keys that sound are played: the same audio as that of all modes, and nothing where nothing sounds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.damped_sinusoids import FRAME, RATE, direct, events_of, play

from diffsynth.audio.format import AudioFormat
from diffsynth.audio.mel_bands import shares_of
from diffsynth.midi.events import CONTROL, KEYS, NOTE_OFF, NOTE_ON, SUSTAIN
from diffsynth.piano import sounding
from diffsynth.piano.modal_bank import SILENCE, Bank
from diffsynth.piano.piano import Piano
from diffsynth.piano.sounding import Keys
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField

RNG = np.random.default_rng(3)
KEY = np.sort(RNG.integers(0, KEYS, 400))
PIANO = Piano(
    key=KEY,
    frequency=RNG.uniform(30, 11000, 400),
    decay=RNG.uniform(5, 30, 400),
    amplitude=0.01 * (RNG.normal(size=400) + 1j * RNG.normal(size=400)),
    release=np.full(KEYS, 200.0),
    exponent=np.full(KEYS, 1.5),
)
FEATURES = Features(16, 0, highest=10000.0, knee=700.0, window=1024, floor=-80.0, hop=1, ages=[1.0])
FIELD = GainField(PIANO, AudioFormat(RATE, FRAME), FEATURES)
ROWS = st.tuples(
    st.integers(0, 64 * FRAME - 1),
    st.sampled_from([NOTE_ON, NOTE_ON, NOTE_OFF, CONTROL]),
    st.integers(21, 108) | st.just(SUSTAIN),
    st.integers(0, 127),
)
STREAMS = st.lists(ROWS, max_size=60).map(lambda rows: events_of(*sorted(rows, key=lambda row: row[0])))


def all_modes(bank, excitation, gain):
    """Audio of a block of all modes in double precision, without the parts of strikes: the slow way."""
    turns = np.exp(bank._pole[:, None] * np.arange(FRAME))
    ramp = np.arange(FRAME) / FRAME
    early = ((gain[:-1] * excitation.start.astype(complex)) @ turns).real
    late = ((gain[1:] * excitation.late.astype(complex)) @ turns).real
    audio = early * (1 - ramp) + late * ramp
    for strike in excitation.strikes:
        rest = np.arange(strike.offset, FRAME) / FRAME
        edges = gain[strike.frame : strike.frame + 2, strike.modes] * strike.amplitude
        sound = (edges @ turns[strike.modes, : len(rest)]).real
        audio[strike.frame, strike.offset :] += sound[0] * (1 - rest) + sound[1] * rest
    return audio.reshape(-1)


@settings(max_examples=25, deadline=None)
@given(STREAMS, st.sampled_from([1, 4, 16]), st.sampled_from([0.0, 0.5, 1.0]))
def test_audio_and_condition_are_those_of_all_modes(events, frames, most):
    bank, gain = Bank(PIANO, RATE, FRAME), np.random.default_rng(0).uniform(0.5, 2, (frames + 1, 400))
    sounding.MOST, before = most, sounding.MOST
    try:
        for begin in range(0, 64 * FRAME, frames * FRAME):
            inside = (events["position"] >= begin) & (events["position"] < begin + frames * FRAME)
            part = events[inside].copy()
            part["position"] -= begin
            excitation = bank.process(part, frames)
            audio = bank.play(excitation, gain.astype(np.float32))
            np.testing.assert_allclose(audio, all_modes(bank, excitation, gain), atol=2e-6)
            power = 0.5 * np.abs(excitation.end.astype(complex)) ** 2
            shares = [shares_of(PIANO.frequency, FIELD.centres), PIANO.key == np.arange(KEYS)[:, None]]
            levels = np.log10(power @ np.concatenate(shares).T / 1e-8 + 1) / 4
            np.testing.assert_allclose(FIELD.condition(excitation)[:, : 16 + KEYS], levels, atol=1e-5)
            logs = np.random.default_rng(1).normal(size=(frames + 1, 16)).astype(np.float32)
            chosen = excitation.sounding.modes
            found = FIELD.mode_gains(logs, excitation)
            np.testing.assert_array_equal(found, FIELD.mode_gains(logs)[:, chosen])
    finally:
        sounding.MOST = before


@settings(max_examples=25, deadline=None)
@given(STREAMS, st.sampled_from([0.0, 0.5, 1.0]))
def test_whether_all_are_played_does_not_change_the_sound(events, most):
    whole = play(Bank(PIANO, RATE, FRAME), events, [4] * 16)
    sounding.MOST, before = most, sounding.MOST
    try:
        np.testing.assert_allclose(play(Bank(PIANO, RATE, FRAME), events, [64]), whole, atol=2e-6)
    finally:
        sounding.MOST = before


@pytest.mark.parametrize("frames", [4, 8])
def test_a_key_sounds_from_its_strike_until_all_of_its_modes_are_silent(frames):
    bank, key = Bank(PIANO, RATE, FRAME), int(KEY[200])
    own = PIANO.key == key
    excitation = bank.process(events_of((100, NOTE_ON, key + 21, 64)), frames)
    heard = []
    for _ in range(400):
        heard.append(excitation.sounding.keys)
        if heard[-1]:
            np.testing.assert_array_equal(excitation.sounding.modes, np.flatnonzero(own))
        excitation = bank.process(events_of(), frames)
    slowest = np.log(np.abs(PIANO.amplitude[own]) / SILENCE) / PIANO.decay[own]
    last = (100 / RATE + slowest.max()) * RATE / (frames * FRAME)
    assert [bool(keys) for keys in heard] == [i < last for i in range(400)]
    assert set(map(tuple, heard)) == {(key,), ()}


def test_what_drops_out_is_inaudible():
    """A chord that dies away, against the sum of its sinusoids: nothing steps where keys drop out."""
    slow = replace(PIANO, decay=np.linspace(5, 30, 400)[np.argsort(np.argsort(KEY))])
    strikes = [(0, key, 100, None) for key in range(20, 60)]
    audio = play(
        Bank(slow, RATE, FRAME), events_of(*((0, NOTE_ON, k + 21, 100) for _, k, *_ in strikes)), [4] * 400
    )
    expected = direct(strikes, len(audio), slow)
    assert np.abs(audio - expected).max() < 1e-5 * np.abs(expected).max()
    tail = slice(len(audio) // 2, None)
    assert np.abs(audio - expected)[tail].max() < 40 * 10 * SILENCE  # of so many keys and modes
    assert np.abs(np.diff(audio - expected))[tail].max() < 40 * 10 * SILENCE


def test_runs_join_neighbours_but_not_what_begins():
    keys = Keys([slice(0, 3), slice(3, 3), slice(3, 5), slice(5, 9), slice(9, 30)])
    found = keys.sounding([2, 0, 1], [3, 1])
    assert found.keys == [0, 2, 3]
    assert found.runs == [(slice(0, 5), slice(0, 5)), (slice(5, 9), slice(5, 9))]
    assert found.places[3] == slice(5, 9)
    assert found.places[1] == slice(0, 0)
    values = np.arange(60.0).reshape(2, 30)
    np.testing.assert_array_equal(found.of(values), values[:, :9])
    np.testing.assert_array_equal(found.among_all(found.of(values)), values * (np.arange(30) < 9))
    np.testing.assert_array_equal(found.sums(found.of(values))[0], [3.0, 7.0, 26.0])
    assert keys.sounding([4], []).runs == [(slice(0, 30), slice(0, 30))]
    nothing = keys.sounding([], [1])
    assert (nothing.keys, nothing.runs, len(nothing.modes)) == ([], [], 0)
    assert nothing.of(values).shape == nothing.sums(nothing.of(values)).shape == (2, 0)
