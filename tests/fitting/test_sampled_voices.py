"""Strings and samplers are told apart by keys struck again under a pedal that rises."""

from dataclasses import replace

import numpy as np
import pytest

from diffsynth.fitting.sampled_voices import find_sampled
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events, to_samples
from diffsynth.piano.playing import play_whole

RATE = 24000


def recording(piano, pedal_up):
    """A key struck twice under the pedal, a finger staying on the second strike; some noise."""
    rows = [(0.05, CONTROL, SUSTAIN, 127), (0.1, NOTE_ON, 60, 90), (0.2, NOTE_OFF, 60, 0)]
    rows += [(0.4, NOTE_ON, 60, 60), (pedal_up, CONTROL, SUSTAIN, 0), (1.6, NOTE_OFF, 60, 0)]
    events = to_samples(make_events(sorted(rows)), RATE)
    audio = play_whole(piano, events, RATE, 128, 2 * RATE)
    noise = np.random.default_rng(0).standard_normal(len(audio)).astype(np.float32)
    return Take(audio + np.float32(0.003) * noise, events, RATE)


@pytest.mark.parametrize("sampled", [False, True])
def test_a_sampler_is_told_from_strings(piano, sampled):
    truth = replace(piano, sampled=sampled)
    for guess in (False, True):
        found = find_sampled(replace(piano, sampled=guess), [recording(truth, 0.7)])
        assert found.sampled == sampled


def test_where_nothing_tells_they_are_strings(piano):
    found = find_sampled(replace(piano, sampled=True), [recording(piano, 1.7)])
    assert not found.sampled


def test_a_piano_that_explains_nothing_does_not_tell(piano):
    # Strings whose phases are not known: whatever plays less is nearer to them.
    turn = np.exp(1j * np.random.default_rng(1).uniform(0, 2 * np.pi, len(piano.key)))
    guess = replace(piano, amplitude=piano.amplitude * turn, sampled=True)
    assert not find_sampled(guess, [recording(piano, 0.7)]).sampled
