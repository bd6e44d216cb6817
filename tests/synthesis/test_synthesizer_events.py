"""Events that reach the streaming engine: any numbers, any order, any place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.block_playing import BLOCKS, MODELS, RATE, models, music, play, sample_events, silence

from diffsynth.midi.events import (
    CONTROL,
    HIGHEST_KEY,
    LOWEST_KEY,
    NOTE_OFF,
    NOTE_ON,
    PEDALS,
    SAMPLE_EVENT,
    SUSTAIN,
    make_events,
    to_samples,
)
from diffsynth.synthesis.synthesizer import NO_EVENTS, Synthesizer, blocks_of, render

anything = st.tuples(
    st.integers(-3000, 6000),
    st.integers(0, 4),
    st.integers(0, 255) | st.sampled_from(PEDALS),
    st.integers(0, 255),
)
ALL_OFF = sample_events(
    *((0, NOTE_OFF, key, 0) for key in range(LOWEST_KEY, HIGHEST_KEY + 1)),
    *((0, CONTROL, pedal, 0) for pedal in PEDALS),
)


@pytest.fixture(scope="module")
def both(make_voice):
    """A synthesizer of each model, to be reset before use."""
    return {model: Synthesizer(make_voice(model, 1024)) for model in MODELS}


@settings(deadline=None, max_examples=25)
@given(
    blocks=st.lists(st.lists(anything, max_size=40), min_size=1, max_size=4), model=st.sampled_from(MODELS)
)
def test_any_events_give_finite_audio_and_leave_no_note_behind(both, blocks, model):
    synthesizer = both[model]
    synthesizer.reset()
    for rows in blocks:
        assert np.isfinite(synthesizer.process(sample_events(*rows))).all()
    synthesizer.process(ALL_OFF)
    assert np.isfinite(silence(synthesizer, 16)).all()
    assert not silence(synthesizer, 2).any()


@models
def test_thousands_of_events_in_a_block(make_voice, model):
    rng = np.random.default_rng(0)
    events = np.zeros(5000, dtype=SAMPLE_EVENT)
    events["position"] = rng.integers(-600, 1200, 5000)
    events["kind"] = rng.integers(0, 3, 5000)
    events["number"], events["value"] = rng.integers(0, 128, (2, 5000))
    synthesizer = Synthesizer(make_voice(model))
    audio = play(synthesizer, [events, events, ALL_OFF])
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() > 1
    silence(synthesizer, 30)
    assert not silence(synthesizer, 2).any()


@models
def test_the_order_of_events_at_different_samples_does_not_matter(make_voice, model):
    events = to_samples(music(6, 0.05, 40), RATE)
    _, first = np.unique(events["position"], return_index=True)
    events = events[first]
    shuffled = np.random.default_rng(1).permutation(events)
    audio = [play(Synthesizer(make_voice(model, 2048)), [e, NO_EVENTS]) for e in (events, shuffled)]
    assert np.abs(audio[0]).max() > 0.01
    np.testing.assert_array_equal(audio[1], audio[0])


def test_events_outside_the_block_move_to_its_nearest_sample(make_voice):
    def audio(first, last):
        rows = [(first, NOTE_ON, 50, 70), (last, NOTE_ON, 60, 70)]
        return play(Synthesizer(make_voice()), [sample_events(*rows), NO_EVENTS])

    np.testing.assert_array_equal(audio(-900, 10**9), audio(0, 511))
    assert not np.array_equal(audio(0, 511), audio(1, 511))


@settings(deadline=None)
@given(
    times=st.lists(st.floats(-1, 3), max_size=30),
    block=st.sampled_from(BLOCKS),
    length=st.integers(1, 4 * RATE),
)
def test_blocks_hold_every_event_once(times, block, length):
    events = make_events([(time, NOTE_ON, 60, 1 + i) for i, time in enumerate(times)])
    parts = blocks_of(events, RATE, block, length)
    assert len(parts) == -(-length // block)
    found = {row["value"]: row["position"] + i * block for i, part in enumerate(parts) for row in part}
    position = {row["value"]: round(row["time"] * RATE) for row in events}
    assert found == {value: p for value, p in position.items() if p < len(parts) * block}
    for part in parts[1:]:
        assert ((part["position"] >= 0) & (part["position"] < block)).all()


def test_a_pedal_that_is_down_before_the_start_holds(make_voice):
    rows = [(0.1, NOTE_ON, 60, 80), (0.2, NOTE_OFF, 60, 0)]
    audio = [
        render(Synthesizer(make_voice()), make_events([*pedal, *rows]), 1.0)
        for pedal in ([(-0.5, CONTROL, SUSTAIN, 127)], [])
    ]
    level = [np.abs(samples[int(0.5 * RATE) : int(0.6 * RATE)]).max() for samples in audio]
    assert level[0] > 1e-3 > 1e-4 > level[1]
