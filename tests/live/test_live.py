"""The parts of playing live: time, messages, events in their places, rates, loads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth.audio.files import read_audio
from diffsynth.audio.recording import RecordingFile
from diffsynth.live.clock import LOST, Clock
from diffsynth.live.engine import Engine, warm_up
from diffsynth.live.inbox import Inbox
from diffsynth.live.messages import Decoder
from diffsynth.live.meter import Display, Meter
from diffsynth.live.ring import Ring, Tap
from diffsynth.live.sources import FileSource
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SAMPLE_EVENT, SOSTENUTO, SUSTAIN, make_events
from diffsynth.synthesis.synthesizer import NO_EVENTS, Synthesizer, render

RATE, BLOCK = 24000, 512


# The clock.


def test_the_clock_averages_what_is_late_by_chance_and_follows_the_true_rate():
    clock, rng = Clock(), np.random.default_rng(0)
    duration, true = BLOCK / RATE, 1.0002  # a device that is 200 ppm slow
    for index in range(1500):
        late = 100.0 + index * duration * true + rng.exponential(0.003)
        clock.follow(index * duration, duration, late)
    moment = 100.0 + 1500 * duration * true + 0.003  # with the mean delay
    assert clock.moment(1500 * duration) == pytest.approx(moment, abs=0.001)
    assert clock.position(clock.moment(7.25)) == pytest.approx(7.25)
    assert clock.moment(60.0) - clock.moment(30.0) == pytest.approx(30 * true, abs=0.004 * 30)


def test_the_clock_starts_again_after_a_pause():
    clock = Clock()
    for index in range(50):
        clock.follow(index * 0.02, 0.02, 5.0 + index * 0.02)
    clock.follow(1.0, 0.02, 6.0 + 2 * LOST)
    assert clock.moment(1.0) == 6.0 + 2 * LOST


# Messages.


def test_messages_become_events():
    decoder = Decoder()
    for message, rows in {
        (0x90, 60, 100): [(NOTE_ON, 60, 100)],
        (0x95, 60, 100): [(NOTE_ON, 60, 100)],
        (0x90, 60, 0): [],  # the other channel still holds it
        (0x85, 60, 0): [(NOTE_OFF, 60, 0)],
        (0x80, 60, 33): [(NOTE_OFF, 60, 0)],
        (0xB0, 64, 99): [(CONTROL, 64, 99)],
        (0xB0, 66, 127): [(CONTROL, 66, 127)],
        (0xB3, 67, 5): [(CONTROL, 67, 5)],
        (0xB0, 7, 99): [],
        (0xE0, 7, 99): [],
        (0xC0, 7): [],
        (0xFE,): [],
        (0x99, 36, 100): [],  # drums
        (0xF0, 1, 2, 0xF7): [],
        (0x90, 60): [],
        (0x90, 200, 200): [],
        (60, 100): [],
        (): [],
    }.items():
        assert decoder.rows(list(message)) == rows, message


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-5, 300), max_size=5), max_size=20))
def test_any_message_gives_events_that_the_engine_knows(messages):
    decoder = Decoder()
    for message in messages:
        for row in decoder.rows(message):
            assert row[0] in (NOTE_ON, NOTE_OFF, CONTROL)
            assert all(0 <= value < 128 for value in row[1:])


def test_the_pedal_that_is_furthest_down_counts_and_channels_let_go_of_their_own_keys():
    decoder = Decoder()
    for message, rows in [
        ((0xB0, 64, 100), [(CONTROL, 64, 100)]),
        ((0xB1, 64, 120), [(CONTROL, 64, 120)]),
        ((0xB0, 64, 0), [(CONTROL, 64, 120)]),
        ((0xB1, 121, 0), [(CONTROL, 64, 0), (CONTROL, 66, 0), (CONTROL, 67, 0)]),
        ((0x91, 60, 80), [(NOTE_ON, 60, 80)]),
    ]:
        assert decoder.rows(message) == rows
    assert (NOTE_OFF, 60, 0) not in decoder.rows((0xB0, 123, 0))
    assert (NOTE_OFF, 60, 0) in decoder.rows((0xB1, 123, 0))


def level_after(make_voice, *messages):
    """Level of a note that pedals and the finger hold, a second after messages."""
    synthesizer, decoder = Synthesizer(make_voice()), Decoder()

    def play(*group):
        rows = [(0, *row) for message in group for row in decoder.rows(message)]
        return synthesizer.process(np.array(rows, dtype=SAMPLE_EVENT))

    play([0xB0, SUSTAIN, 127], [0x90, 45, 90])
    play([0xB0, SOSTENUTO, 127])
    play(*messages)
    audio = np.concatenate([play() for _ in range(RATE // BLOCK)])
    struck = np.concatenate([play([0x90, 50, 90]), play([0x80, 50, 0]), *(play() for _ in range(46))])
    return np.abs(audio[-BLOCK:]).max(), np.abs(struck[-BLOCK:]).max()


def test_notes_off_leaves_what_the_pedals_hold_and_sound_off_does_not(make_voice):
    held, _ = level_after(make_voice)
    for controller in (123, 127):
        assert level_after(make_voice, [0xB0, controller, 0])[0] == held
    silent, after = level_after(make_voice, [0xB0, 120, 0])
    assert held > 1e-3
    assert silent == 0
    assert after > 1e-3  # the foot still holds the pedal down
    lifted, after = level_after(make_voice, [0xB0, 121, 0], [0x80, 45, 0])
    assert lifted == after == 0


# Events in their places.


def engine_of(make_voice, source, slots=2):
    ring = Ring(slots, BLOCK)
    tap, clock = Tap(ring), Clock()
    clock.set(0.0, 1000.0)  # the stream begins at 1000 s on the wall
    while ring.write(np.zeros(BLOCK, np.float32)):
        pass
    return Engine(Synthesizer(make_voice()), source, tap, clock, RATE), tap, clock


class Listener:
    """A source that notes what the engine asks for."""

    def __init__(self, source):
        self.source, self.taken = source, []

    def take(self, end, clock):
        events = self.source.take(end, clock)
        self.taken.append((end, events.copy()))
        return events


def test_an_event_sounds_one_block_and_a_full_ring_after_it_arrived(make_voice):
    inbox = Inbox(RATE)
    engine, tap, _ = engine_of(make_voice, inbox, slots=2)
    arrived = 700  # samples after the beginning of the stream: in its block 1, at sample 188
    inbox.put([0x90, 69, 90], 1000.0 + (arrived + 0.5) / RATE)
    heard = np.zeros(0, np.float32)
    for _ in range(6):
        out = np.zeros(BLOCK, np.float32)
        tap.fill(out)
        heard = np.concatenate([heard, out])
        engine.advance()
    assert engine.delay == 3 * BLOCK
    assert np.flatnonzero(heard)[0] == arrived + 3 * BLOCK
    assert tap.missed == 0


@settings(deadline=None, max_examples=8)
@given(
    gaps=st.lists(st.floats(0, 0.06), max_size=20),
    late=st.lists(st.booleans(), min_size=25, max_size=25),
)
def test_no_event_is_lost_or_repeated_when_blocks_are_late(make_voice, gaps, late):
    inbox, times = Inbox(RATE), 1000.0 + np.cumsum(gaps)
    listener = Listener(inbox)
    engine, tap, _ = engine_of(make_voice, listener, slots=2)
    for index, moment in enumerate(times):
        inbox.put([0x90, 21 + index, 80], moment)
    out = np.zeros(BLOCK, np.float32)
    begins = []
    for is_late in [*late, *[False] * 60]:
        tap.fill(out)
        if is_late:
            continue  # the engine sleeps while the device goes on
        while tap.ring.waiting < tap.ring.slots and engine.window + BLOCK <= tap.drawn:
            begins.append(engine.window)
            engine.advance()
    found = np.concatenate([events for _, events in listener.taken])
    assert found["number"].tolist() == list(range(21, 21 + len(times)))
    arrived = np.floor((times - 1000.0) * RATE + 1e-6)
    assert np.abs(found["position"] - arrived).max(initial=0) <= 1
    for begin, (end, events) in zip(begins, listener.taken, strict=True):
        assert end == begin + BLOCK
        assert (events["position"] < end).all()
    assert (np.diff(begins) >= BLOCK).all()
    assert (np.diff(begins) == BLOCK).all() or tap.skipped


def test_a_file_is_played_as_render_plays_it(make_voice):
    rng = np.random.default_rng(3)
    events = make_events([(rng.random(), NOTE_ON, int(rng.integers(30, 90)), 80) for _ in range(30)])
    source = FileSource(events, RATE, -BLOCK)
    engine, tap, _ = engine_of(make_voice, source, slots=3)
    heard = []
    while not engine.over:
        heard.append(np.zeros(BLOCK, np.float32))
        tap.fill(heard[-1])
        engine.advance()
    expected = render(Synthesizer(make_voice()), events)
    heard = np.concatenate(heard)
    assert not heard[: 3 * BLOCK].any()
    complete = len(heard) - 3 * BLOCK
    np.testing.assert_array_equal(heard[3 * BLOCK :], expected[:complete])
    assert complete > RATE


def test_the_first_block_after_the_warm_up_is_that_of_a_fresh_start(make_voice):
    warm, cold = Synthesizer(make_voice()), Synthesizer(make_voice())
    warm_up(warm)
    events = np.array([(3, NOTE_ON, 60, 90)], dtype=SAMPLE_EVENT)
    np.testing.assert_array_equal(warm.process(events), cold.process(events))
    assert not Synthesizer(make_voice()).process(NO_EVENTS).any()


# Rates, loads, files.


def test_the_meter_knows_its_quantiles():
    meter, loads = Meter(), np.random.default_rng(1).gamma(4, 0.05, 5000)
    display = Display(meter)
    for load in loads:
        meter.add(float(load))
    summary = meter.summary(3, 106.7, 0.064)
    assert summary.load_p50 == pytest.approx(np.quantile(loads, 0.5), abs=0.003)
    assert summary.load_p99 == pytest.approx(np.quantile(loads, 0.99), abs=0.006)
    assert summary.load_max == loads.max()
    assert summary.line().endswith("latency 64.0 ms, 3 of 5000 blocks missed")
    assert display.line(3, 0.064) == f"load {loads.mean():4.0%}  latency 64.0 ms  missed blocks 3"
    meter.add(9.0)
    assert display.line(3, 0.064).startswith("load 900%")
    assert meter.quantile(1.0) <= 9.0


def test_a_recording_appears_when_it_is_complete(tmp_path):
    path, blocks = tmp_path / "new" / "a.flac", np.linspace(-1.5, 1.5, 40, dtype=np.float32).reshape(4, 10)
    with RecordingFile(path, RATE) as recording:
        for block in blocks:
            recording.write(block)
        assert not path.exists()
    audio, rate = read_audio(path)
    assert rate == RATE
    np.testing.assert_allclose(audio, blocks.ravel().clip(-1, 1), atol=1.01 / 32768)
    with pytest.raises(ValueError, match="stop"), RecordingFile(tmp_path / "b.wav", RATE) as recording:
        raise ValueError("stop")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "new"]
