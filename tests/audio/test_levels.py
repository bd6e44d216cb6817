import numpy as np
import pytest

from diffsynth.audio.levels import LEAD, MARGIN, REVERB, TAIL, measure_levels, performance_part
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events

RATE = 1000
PEDAL = [(0.1, CONTROL, SUSTAIN, 127)]
NOTE = [(2.0, NOTE_ON, 60, 64), (3.0, NOTE_OFF, 60, 0)]


def sound(until, length, noise=0.0):
    """A square wave at 0.5 from 2 s on, until a moment."""
    time = np.arange(round(length * RATE)) / RATE
    wave = np.where(np.arange(len(time)) % 2, 0.5, -0.5) * ((time >= 2) & (time < until))
    return (wave + noise * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)


def part(events, audio):
    return performance_part(make_events(events), measure_levels(audio, RATE))


def test_levels_in_decibels_of_full_scale():
    audio = np.zeros(10 * RATE, np.float32)
    audio[: 5 * RATE] = np.where(np.arange(5 * RATE) % 2, 0.1, -0.1)
    audio[100] = -1
    levels = measure_levels(audio, RATE)
    assert len(levels.power) == 100
    rms = 10 * np.log10(np.mean(np.square(audio, dtype=float)))
    assert levels.summary() == pytest.approx({"peak_dbfs": 0, "rms_dbfs": rms, "noise_dbfs": -120}, abs=0.01)
    assert levels.part(1.0, 5.0).summary() == pytest.approx(
        {"peak_dbfs": -20, "rms_dbfs": -20, "noise_dbfs": -20}, abs=0.01
    )


def test_silence_is_trimmed_at_both_ends():
    begin, end = part(NOTE, sound(until=4, length=60))
    assert begin == 2 - LEAD
    # A little after the last event, though nothing sounds any more.
    assert end == 3 + TAIL


def test_what_the_pedal_holds_is_kept_until_it_has_died_away():
    for noise in (0.0, 1e-3):
        _, end = part([*PEDAL, *NOTE], sound(until=20, length=60, noise=noise))
        assert end == pytest.approx(20 + MARGIN, abs=0.2)


def test_what_is_heard_after_the_last_damper_is_no_piano():
    # The pedal comes up at 4 s; applause follows.
    _, end = part([*PEDAL, *NOTE, (4.0, CONTROL, SUSTAIN, 0)], sound(until=50, length=60))
    assert end == 4 + REVERB


def test_a_short_lead_and_an_early_first_event_stay():
    early = [(time - 1.5, *rest) for time, *rest in NOTE]
    assert part(early, sound(until=2, length=4))[0] == 0
    before = [(time - 2.5, *rest) for time, *rest in NOTE]
    assert part(before, sound(until=2, length=4))[0] == -0.5
