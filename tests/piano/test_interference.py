"""Strings struck again have the power to be expected of strikes whose moments are not known exactly."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SAMPLE_EVENT, SUSTAIN
from diffsynth.piano.interference import Interference
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole

RATE, FRAME = 24000, 128
JITTER = 4e-4
# Two partials of one key, the upper one of two modes that beat; and another key.
PIANO = Piano(
    key=np.array([39, 39, 39, 60]),
    frequency=np.array([130.0, 2001.0, 2003.0, 880.0]),
    decay=np.array([0.5, 0.7, 1.5, 2.0]),
    amplitude=np.array([0.1, 0.06 + 0.02j, -0.04j, 0.05]),
    release=np.full(88, 30.0),
    exponent=np.full(88, 1.5),
    jitter=JITTER,
)
AMPLITUDES = st.builds(
    lambda size, turn: 10.0**size * np.exp(1j * turn), st.floats(-4, 0), st.floats(-np.pi, np.pi)
)


def one_mode(frequency):
    piano = replace(PIANO, key=np.array([39]), frequency=np.array([frequency]))
    return replace(piano, decay=np.array([0.5]), amplitude=np.array([0.1 + 0j]))


def together(frequency, older, strike):
    """Amplitudes of both sounds after the strike."""
    change = Interference(one_mode(frequency), slice(0, 1)).change(
        np.array([older], dtype=np.complex64), np.array([strike], dtype=np.complex64)
    )
    return complex(change[0]), older + complex(change[0]) + strike


@given(st.sampled_from([60.0, 400.0, 900.0, 5000.0]), AMPLITUDES, AMPLITUDES)
def test_power_is_that_of_strikes_whose_moments_scatter(frequency, older, strike):
    random = np.random.default_rng(0).standard_normal((2, 20000)) * JITTER
    turned = np.exp(2j * np.pi * frequency * random)
    powers = np.abs(older * turned[0] + strike * turned[1]) ** 2
    _, both = together(frequency, older, strike)
    error = 5 * powers.std() / np.sqrt(powers.size) + 1e-5 * powers.mean()
    if abs(older + strike) > 1e-3 * abs(older):  # what cancels to nothing has no phase to be scaled in
        assert abs(both) ** 2 == pytest.approx(powers.mean(), abs=error)


@given(st.floats(30, 10000), AMPLITUDES, AMPLITUDES)
def test_the_older_sound_changes_by_little_more_than_the_softer_of_both(frequency, older, strike):
    change, both = together(frequency, older, strike)
    assert abs(change) <= 1.001 * np.sqrt(2) * min(abs(older), abs(strike)) + 1e-7
    exact = older + strike
    if abs(exact) > 1e-3 * abs(older):  # in the phase of the exact sum
        assert abs((both * np.conj(exact)).imag) <= 1e-3 * abs(both * exact)


def test_modes_of_a_partial_change_alike_and_other_partials_by_themselves():
    frequency = np.array([2003.0, 130.0, 2015.0, 2000.0])  # the first and the last are one partial
    piano = replace(PIANO, key=np.full(4, 39), frequency=frequency)
    older = np.array([0.05 + 0.01j, 0.03, 0.02j, -0.03 + 0.02j])
    strike = np.array([0.02, 0.06 - 0.01j, 0.04, 0.03j])
    change = Interference(piano, slice(0, 4)).change(older.astype(np.complex64), strike.astype(np.complex64))
    for modes in ([0, 3], [1], [2]):
        a, b, f = older[modes].sum(), strike[modes].sum(), frequency[modes].mean()
        coherence = np.exp(-((2 * np.pi * f * JITTER) ** 2))
        size = np.sqrt(abs(a) ** 2 + abs(b) ** 2 + 2 * coherence * (a * b.conjugate()).real)
        factor = ((a + b) / abs(a + b) * size - b) / a  # of the older sound
        np.testing.assert_allclose(change[modes], (factor - 1) * older[modes], rtol=1e-4)


@pytest.mark.parametrize("older", [[0, 0, 0], [1e-10, -1e-10, 0], [-0.1, -0.1j, 0]])
def test_where_there_is_nothing_or_nothing_is_left_nothing_changes(older):
    change = Interference(PIANO, slice(0, 3)).change(
        np.array(older, dtype=np.complex64), np.array([0.1, 0.1j, 0], dtype=np.complex64)
    )
    assert not change.any()


def events_of(*rows):
    return np.array(list(rows), dtype=SAMPLE_EVENT)


def level(audio):
    """dB over the second that follows two strikes."""
    return 10 * np.log10(np.mean(np.square(audio[14000:38000], dtype=np.float64)))


def test_repeated_notes_are_equally_loud_whenever_they_are_struck_again():
    levels = {JITTER: [], 0.0: []}
    piano = one_mode(2000.0)
    for again in range(12000, 12013):  # through one period
        events = events_of((0, NOTE_ON, 60, 64), (again, NOTE_ON, 60, 64))
        for jitter, found in levels.items():
            found.append(level(play_whole(replace(piano, jitter=jitter), events, RATE, FRAME, 40000)))
    assert np.ptp(levels[0.0]) > 10
    assert np.ptp(levels[JITTER]) < 0.1


def test_a_strike_meets_the_older_sound_at_its_own_moment():
    events = events_of((100, NOTE_ON, 60, 64), (4000, NOTE_ON, 60, 64), (9001, NOTE_ON, 60, 80))
    piano = one_mode(2000.0)
    coarse, fine = (play_whole(piano, events, RATE, frame, 16384) for frame in (128, 32))
    np.testing.assert_allclose(coarse, fine, atol=1e-5)


@pytest.mark.parametrize("later", [1, 64, 127])
def test_the_frames_do_not_matter(later):
    rows = [(128, NOTE_ON, 60, 64), (4000, NOTE_ON, 60, 80)]
    first = play_whole(PIANO, events_of(*rows), RATE, FRAME, 16384)
    moved = [(position + later, *rest) for position, *rest in rows]
    second = play_whole(PIANO, events_of(*moved), RATE, FRAME, 16384)
    np.testing.assert_allclose(second[later:], first[:-later], atol=1e-5)


def test_every_key_has_partials_of_its_own():
    one, two = (
        [(0, NOTE_ON, key, 64), (5000 + key, NOTE_ON, key, 80), (9000 - key, NOTE_ON, key, 70)]
        for key in (60, 81)
    )
    both, *parts = (
        play_whole(PIANO, np.sort(events_of(*rows), order="position"), RATE, FRAME, 16384)
        for rows in (one + two, one, two)
    )
    np.testing.assert_allclose(both, sum(parts), atol=1e-6)


def test_a_key_struck_again_and_let_go_within_one_frame():
    piano = replace(one_mode(2000.0), release=np.full(88, 1.0))  # so slow that a frame of it is nothing
    rows = [(0, NOTE_ON, 60, 64), (12036, NOTE_ON, 60, 64)]  # in phase
    within, after = (
        play_whole(piano, events_of(*rows, (fall, NOTE_OFF, 60, 0)), RATE, FRAME, 16384)
        for fall in (12050, 12160)  # in the first half of the same frame, at the start of the next
    )
    exact = play_whole(replace(piano, jitter=0.0), events_of(*rows), RATE, FRAME, 16384)
    assert np.abs(exact[12160:]).max() > 1.2 * np.abs(after[12160:]).max()
    np.testing.assert_allclose(within, after, atol=2e-3)


def test_a_damped_key_or_another_one_meets_nothing():
    rows = [(0, NOTE_ON, 60, 64), (3000, NOTE_OFF, 60, 0), (3500, NOTE_ON, 60, 90), (5000, NOTE_ON, 81, 90)]
    certain = replace(PIANO, jitter=0.0)
    found, exact = (play_whole(p, events_of(*rows), RATE, FRAME, 20000) for p in (PIANO, certain))
    np.testing.assert_array_equal(found, exact)


def test_soft_strikes_on_loud_strings_do_not_click():
    rows = [(0, NOTE_ON, 60, 127), *((12000 + 1700 * i, NOTE_ON, 60, 1) for i in range(12))]
    audio = play_whole(PIANO, events_of(*rows), RATE, FRAME, 40000)
    bend = np.abs(np.diff(audio, 2))
    assert bend[11990:].max() < 1.02 * bend[6000:11990].max()


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("blocks", [[4] * 16, [1] * 64])
def test_blocks_do_not_matter(sampled, blocks):
    piano = replace(PIANO, sampled=sampled)
    rows = [(0, CONTROL, SUSTAIN, 127)]
    for i in range(20):
        rows += [(350 * i, NOTE_ON, 60, 40 + 4 * i), (350 * i + 200, NOTE_OFF, 60, 0)]
    rows += [(7100, NOTE_ON, 60, 80), (7200, CONTROL, SUSTAIN, 0)]
    events, bank, audio = events_of(*rows), Bank(piano, RATE, FRAME), []
    gain = np.ones((blocks[0] + 1, bank.modes), dtype=np.float32)
    for begin, frames in zip(np.cumsum([0, *blocks[:-1]]) * FRAME, blocks, strict=True):
        inside = (events["position"] >= begin) & (events["position"] < begin + frames * FRAME)
        part = events[inside].copy()
        part["position"] -= begin
        audio.append(bank.play(bank.process(part, frames), gain))
    whole = play_whole(piano, events, RATE, FRAME, 64 * FRAME)
    np.testing.assert_allclose(np.concatenate(audio), whole, atol=1e-5)
