"""How much later one recording is than another, and MIDI that is cut."""

import numpy as np
import pytest

from diffsynth.benchmark.offsets import offset
from diffsynth.benchmark.pieces import Stretch, cut
from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events

RATE = 24000


def notes(late=0.0, seed=0, hertz=1.0):
    """Six seconds of decaying tones at moments that do not repeat, a little noise."""
    random = np.random.default_rng(3)
    time, signal = np.arange(6 * RATE) / RATE, np.zeros(6 * RATE)
    for onset in np.sort(random.uniform(0.2, 5.5, 20)):
        age = np.maximum(time - onset - late, 0.0)
        signal += np.sin(2 * np.pi * hertz * random.uniform(200, 900) * age) * np.exp(-6 * age)
    return (0.1 * signal + 1e-4 * np.random.default_rng(seed).normal(size=len(time))).astype("f4")


@pytest.mark.parametrize("late", [0.0, 0.0004, 0.012, -0.031, 0.055])
def test_a_delay_is_found_to_a_third_of_a_millisecond(late):
    assert offset(notes(), notes(late, seed=1), RATE, 0.06) == pytest.approx(late, abs=0.00034)


def test_it_is_found_between_instruments_and_rates_of_their_own_tones():
    assert offset(notes(), notes(0.02, hertz=1.5), RATE, 0.06) == pytest.approx(0.02, abs=0.002)


def test_none_is_looked_for_beyond_what_is_asked():
    assert offset(notes(), notes(0.03), RATE, 0.0) == 0.0
    assert abs(offset(notes(), notes(0.2), RATE, 0.06)) <= 0.06
    assert offset(notes(), np.zeros(6 * RATE, "f4"), RATE, 0.06) == 0.0
    assert offset(notes()[:100], notes()[:100], RATE, 0.06) == 0.0


def test_keys_that_are_down_at_a_cut_come_up():
    events = make_events(
        [
            *[(0.0, NOTE_ON, 60, 80), (0.5, CONTROL, SUSTAIN, 127), (0.9, NOTE_OFF, 60, 0)],
            *[(1.0, NOTE_ON, 64, 80), (1.5, NOTE_ON, 60, 70), (2.5, NOTE_OFF, 64, 0)],
        ]
    )
    part = cut(events, 2.0)
    assert part[:-2].tolist() == events[:5].tolist()
    assert part[-2:].tolist() == [(2.0, NOTE_OFF, 60, 0), (2.0, NOTE_OFF, 64, 0)]
    with pytest.raises(UserError, match="no key is struck before second 0"):
        cut(events, 0.0)


def test_a_stretch_ends_with_the_recording():
    assert Stretch(2.0, 3.0).end(10.0) == 5.0
    assert Stretch(2.0, 3.0).end(4.0) == 4.0
    assert Stretch(2.0).end(10.0) == 10.0
