"""What of the past comes with a segment: enough for the same sound, and never more than some minutes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth.audio.format import AudioFormat
from diffsynth.midi.dampers import Dampers
from diffsynth.midi.events import (
    CONTROL,
    KEYS,
    NOTE_OFF,
    NOTE_ON,
    PEDALS,
    SOSTENUTO,
    SUSTAIN,
    make_events,
    to_samples,
)
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole
from diffsynth.representation.config import Features
from diffsynth.representation.features import FeatureMaker
from diffsynth.representation.targets import Targets
from diffsynth.shards import history as module
from diffsynth.shards.config import Shard
from diffsynth.shards.history import RINGS, history
from diffsynth.shards.segments import Segment, cut_segments

NOTE_ROWS = st.tuples(
    st.integers(0, 80).map(lambda tick: tick / 8),
    st.sampled_from([NOTE_OFF, NOTE_ON]),
    st.integers(60, 62),
    st.integers(1, 127),
)
PEDAL_ROWS = st.tuples(
    st.integers(0, 80).map(lambda tick: tick / 8),
    st.just(CONTROL),
    st.sampled_from(PEDALS),
    st.sampled_from([0, 30, 100]),
)
STREAMS = st.lists(st.one_of(NOTE_ROWS, PEDAL_ROWS), max_size=40).map(make_events)


def dampers_after(events):
    dampers = Dampers()
    list(dampers.actions(to_samples(events, 8)))
    return {name: values.tolist() for name, values in dampers.state().items()}


@given(events=STREAMS, start=st.integers(0, 90), context=st.integers(0, 40), rings=st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_history_brings_keys_and_pedals_into_the_state_of_the_whole_past(events, start, context, rings):
    """The reference: the dampers after everything that happened before."""
    start, context, rings = start / 8, context / 8, rings / 8
    kept = history(events, start, context, rings)
    past = events[events["time"] < start]
    assert dampers_after(kept) == dampers_after(past)
    # All of the context is there, and nothing twice or out of order.
    horizon = start - max(context, rings)
    rows, older = past.tolist(), iter(past.tolist())
    assert all(row in older for row in kept.tolist() if row[0] >= horizon)
    assert (np.diff(kept["time"]) >= 0).all()
    recent = [row for row in rows if row[0] >= start - context]
    assert kept.tolist()[len(kept) - len(recent) :] == recent


@given(events=STREAMS, context=st.integers(0, 24), rings=st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_every_segment_has_the_history_of_the_whole_past(events, context, rings):
    config = Shard(segment=0.5, context=context / 8, megabytes=1, fewest=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.history, "__defaults__", (rings / 8,))
        for part in cut_segments("x", np.zeros(80, np.float32), events, 8, config):
            wanted = history(events, part.start, config.context)
            wanted["time"] -= part.start
            assert part.events[part.events["time"] < 0].tolist() == wanted.tolist()


def test_what_was_released_long_ago_is_forgotten():
    events = make_events(
        [
            (0.0, NOTE_ON, 60, 64),
            (0.5, NOTE_OFF, 60, 0),
            (1.0, CONTROL, SOSTENUTO, 127),
            (1.5, NOTE_ON, 62, 64),
            (2.0, CONTROL, SOSTENUTO, 0),
        ]
    )
    assert history(events, 10.0, 1.0).tolist() == [
        (1.0, CONTROL, SOSTENUTO, 127),
        (1.5, NOTE_ON, 62, 64),
        (2.0, CONTROL, SOSTENUTO, 0),
    ]


def never_released(seconds):
    """A pedal that stays down, and moves, while two notes a second are struck on all keys in turn."""
    rows = [(0.0, CONTROL, SUSTAIN, 127)]
    for i in range(2 * seconds):
        key = 21 + 7 * i % KEYS
        rows += [(0.1 + i / 2, NOTE_ON, key, 40 + i % 80), (0.3 + i / 2, NOTE_OFF, key, 0)]
        rows += [(0.2 + i / 2, CONTROL, SUSTAIN, 90 + i % 30)]
    return make_events(rows)


def test_a_pedal_that_is_never_released_brings_no_more_events_than_a_minute_holds():
    config = Shard(segment=8.0, context=8.0, megabytes=1, fewest=1)
    parts = list(cut_segments("x", np.zeros(36000, np.float32), never_released(3600), 10, config))
    # A minute of history and the segment hold six events a second; and what the dampers need.
    most = 6 * (RINGS + 8) + 2 * KEYS + len(PEDALS)
    assert max(len(part.events) for part in parts) <= most
    assert min(part.events["time"][0] for part in parts) >= -RINGS - 1
    # A finger that never leaves its key, while the pedal goes up and down.
    rows = [(0.0, NOTE_ON, 30, 80)]
    rows += [(1 + i / 4, CONTROL, SUSTAIN, 127 * (i % 2)) for i in range(4 * 3500)]
    parts = list(cut_segments("x", np.zeros(36000, np.float32), make_events(rows), 10, config))
    assert max(len(part.events) for part in parts) <= 4 * (RINGS + 8) + 4


def make_piano():
    """Four keys whose slowest modes lose 60 dB in 30 s, as bass strings do, and others that die fast."""
    key = np.repeat([0, 7, 40, 80], 2)
    frequency = np.array([27.5, 55.0, 41.2, 82.4, 270.0, 540.0, 2600.0, 5200.0])
    decay = np.array([0.23, 0.5, 0.23, 0.8, 0.6, 1.0, 4.0, 9.0])
    return Piano(key, frequency, decay, np.full(8, 0.05 + 0j), np.full(KEYS, 20.0), np.full(KEYS, 1.0))


RATE = 12000
AUDIO = AudioFormat(sample_rate=RATE, frame=256)
FEATURES = Features(12, 0, highest=5000.0, knee=700.0, window=1024, floor=-80.0, hop=1, ages=[1.0])


def test_a_segment_sounds_as_after_all_of_its_past():
    """Two minutes under one pedal: within 1e-4 of the loudest sample, as strings of 30 s have it."""
    rows = [(0.0, CONTROL, SUSTAIN, 127)]
    for i in range(125):
        key = 21 + [0, 7, 40, 80][i % 4]
        rows += [(0.5 + i, NOTE_ON, key, 60 + i % 50), (0.75 + i, NOTE_OFF, key, 0)]
    rows += [(126.0, CONTROL, SUSTAIN, 0), (127.0, NOTE_ON, 21, 90)]
    events, piano = make_events(rows), make_piano()
    length = 128 * RATE
    whole = play_whole(piano, to_samples(events, RATE), RATE, 256, length)
    config = Shard(segment=8.0, context=8.0, megabytes=1, fewest=1)
    *_, last = cut_segments("x", whole, events, RATE, config)
    assert last.start == 120.0
    bank, sounding = Bank(piano, RATE, 256), last.events[last.events["time"] >= -RINGS]
    list(bank.dampers.actions(to_samples(last.events[last.events["time"] < -RINGS], RATE)))
    begin = -(-round(RINGS * RATE) // 256) * 256
    positions = to_samples(sounding, RATE)
    positions["position"] += begin
    unity = np.ones((33, bank.modes), np.float32)
    parts = []
    for first in range(0, begin + 8 * RATE, 32 * 256):
        low, high = np.searchsorted(positions["position"], [first, first + 32 * 256])
        part = positions[low:high].copy()
        part["position"] -= first
        parts.append(bank.play(bank.process(part, 32), unity))
    again = np.concatenate(parts)[begin : begin + 8 * RATE]
    assert np.abs(again - last.audio).max() < 1e-4 * np.abs(last.audio).max()
    # So features find no gain where the recording is the excitation itself.
    _, levels, _ = FeatureMaker(piano, AUDIO, FEATURES)(last)
    gains, weight = Targets(FEATURES, AUDIO)(levels)
    assert np.abs(gains[weight > 0.05]).max() < 0.01


def test_dampers_of_strikes_that_are_not_heard_any_more_still_count():
    """A key held from long ago: the sostenuto pedal catches it, and what is struck then stays."""
    rows = [(0.0, NOTE_ON, 28, 100), (100.0, CONTROL, SOSTENUTO, 127), (101.0, NOTE_OFF, 28, 0)]
    events = make_events([*rows, (102.0, NOTE_ON, 28, 80), (102.5, NOTE_OFF, 28, 0)])
    config = Shard(segment=8.0, context=8.0, megabytes=1, fewest=1)
    piano, length = make_piano(), 112 * RATE
    whole = play_whole(piano, to_samples(events, RATE), RATE, 256, length)
    *_, last = cut_segments("x", whole, events, RATE, config)
    assert isinstance(last, Segment)
    assert np.abs(whole[-RATE:]).max() > 0.005  # caught, and so not damped
    _, levels, _ = FeatureMaker(piano, AUDIO, FEATURES)(last)
    gains, weight = Targets(FEATURES, AUDIO)(levels)
    assert weight.max() > 0.5
    assert np.abs(gains[weight > 0.05]).max() < 0.01
