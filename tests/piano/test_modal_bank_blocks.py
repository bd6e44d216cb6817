"""The bank of modes block by block: any events, any division into blocks, saved states."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.damped_sinusoids import FRAME, GAINS, PIANO, RATE, direct, events_of, play

from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SOSTENUTO, SUSTAIN, UNA_CORDA
from diffsynth.piano.modal_bank import Bank

NOTES = st.tuples(
    st.integers(0, 32 * FRAME - 1),
    st.sampled_from([NOTE_OFF, CONTROL, NOTE_ON, NOTE_ON]),
    st.sampled_from([21, 60, 108, SUSTAIN, SOSTENUTO, UNA_CORDA]),
    st.integers(0, 127),
)
STREAMS = st.lists(NOTES, max_size=40).map(lambda rows: events_of(*sorted(rows, key=lambda row: row[0])))


@settings(max_examples=40, deadline=None)
@given(STREAMS, st.sampled_from([[1] * 32, [4] * 8, [16, 16], [3, 1, 12, 16], [31, 1]]))
def test_block_by_block_equals_whole(events, blocks):
    whole = play(Bank(PIANO, RATE, FRAME), events, [32], GAINS)
    parts = play(Bank(PIANO, RATE, FRAME), events, blocks, GAINS)
    np.testing.assert_allclose(parts, whole, atol=2e-6)


@settings(max_examples=40, deadline=None)
@given(STREAMS, st.integers(1, 31))
def test_events_change_nothing_before_them(events, border):
    past = events[events["position"] < border * FRAME]
    one, two = Bank(PIANO, RATE, FRAME), Bank(PIANO, RATE, FRAME)
    whole, cut = one.process(events, 32), two.process(past, 32)
    for field in ("start", "late", "end", "pedals"):
        np.testing.assert_array_equal(getattr(whole, field)[:border], getattr(cut, field)[:border])
    audio = one.play(whole, GAINS)[: border * FRAME]
    np.testing.assert_array_equal(audio, two.play(cut, GAINS)[: border * FRAME])


@settings(max_examples=30, deadline=None)
@given(STREAMS, STREAMS)
def test_a_restored_state_replays_identically(before, after):
    bank = Bank(PIANO, RATE, FRAME)
    bank.process(before, 32)
    state = bank.state()
    first = play(bank, after, [32], GAINS)
    bank.restore(state)
    np.testing.assert_array_equal(play(bank, after, [32], GAINS), first)
    other = Bank(PIANO, RATE, FRAME)
    other.restore(state)
    np.testing.assert_array_equal(play(other, after, [32], GAINS), first)
    other.reset()
    assert not play(other, events_of(), [32]).any()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**40), 2**40), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)
        ),
        max_size=40,
    ),
    st.floats(0, 1e3, width=32),
)
def test_any_events_give_numbers(rows, gain):
    bank = Bank(PIANO, RATE, FRAME)
    events = events_of(*sorted(rows))
    for _ in range(3):
        audio = bank.play(bank.process(events, 4), np.full((5, 6), gain, np.float32))
        assert audio.dtype == np.float32
        assert np.isfinite(audio).all()


def test_positions_outside_the_block_are_moved_to_its_ends():
    bank = Bank(PIANO, RATE, FRAME)
    events = events_of((-7, NOTE_ON, 60, 64), (4 * FRAME, NOTE_ON, 108, 80), (10**9, NOTE_ON, 21, 64))
    audio = play_block(bank, events, 4)
    last = 4 * FRAME - 1
    expected = direct([(0, 39, 64, None), (last, 87, 80, None), (last, 0, 64, None)], 8 * FRAME)
    np.testing.assert_allclose(audio, expected[: 4 * FRAME], atol=1e-6)
    np.testing.assert_allclose(play_block(bank, events_of(), 4), expected[4 * FRAME :], atol=1e-6)
    assert events["position"].tolist() == [-7, 4 * FRAME, 10**9]  # the caller's array is not touched


def play_block(bank, events, frames):
    return bank.play(bank.process(events, frames), np.ones((frames + 1, bank.modes), np.float32))
