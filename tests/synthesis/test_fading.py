"""A performance ends when its sound has died away, by the level that is left."""

import numpy as np
import pytest

from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events
from diffsynth.synthesis.fading import LONGEST, SILENCE, WHILE, Fading
from diffsynth.synthesis.synthesizer import Synthesizer, render

RATE = 1000


def length_heard(audio, block=100):
    """Seconds of a signal, struck at its beginning, until it counts as over."""
    fading, part = Fading(RATE), np.zeros(0)
    for begin in range(0, len(audio), block):
        part = audio[begin : begin + block]
        fading.add(part, int(begin == 0))
        if fading.silent:
            return (begin + len(part)) / RATE
    return np.inf


@pytest.mark.parametrize("loudness", [1e-3, 0.5, 3.0])
@pytest.mark.parametrize("decay", [3.0, 30.0])
def test_it_ends_half_a_second_after_80_decibels_whatever_the_loudness(loudness, decay):
    time = np.arange(100 * RATE) / RATE
    audio = loudness * np.exp(-decay * time)
    expected = np.log(1 / SILENCE) / decay + WHILE
    assert length_heard(audio) == pytest.approx(expected, abs=0.2)


def test_a_sound_that_never_ends_is_ended():
    assert length_heard(np.ones(100 * RATE)) == pytest.approx(LONGEST, abs=0.2)
    assert length_heard(np.zeros(100 * RATE)) == WHILE


def test_a_note_under_the_pedal_is_heard_to_its_end(make_voice):
    note = [(0.1, NOTE_ON, 100, 100), (0.2, NOTE_OFF, 100, 0)]
    held = render(Synthesizer(make_voice()), make_events([(0.0, CONTROL, SUSTAIN, 127), *note]))
    damped = render(Synthesizer(make_voice()), make_events(note))
    assert len(held) > 1.5 * len(damped)
    for audio in (held, damped):
        rate = make_voice().config.audio.sample_rate
        assert np.abs(audio[-rate // 4 :]).max() <= SILENCE * np.abs(audio).max()
