"""Strings and samplers are told apart by keys struck again under a pedal that rises."""

from dataclasses import replace

import numpy as np
import pytest

from diffsynth.fitting import fit
from diffsynth.fitting.config import Fit
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


def test_strings_are_asked_again_when_they_are_refined(piano, monkeypatch):
    truth, rows, at = replace(piano, sampled=True, release=np.full(88, 9.0)), [], 0.1
    for note in [45, 60] * 3:
        rows += [(at, NOTE_ON, note, 70), (at + 0.8, NOTE_OFF, note, 0), (at + 1.0, CONTROL, SUSTAIN, 127)]
        rows += [(at + 1.1, NOTE_ON, note, 90), (at + 1.2, NOTE_OFF, note, 0), (at + 1.5, NOTE_ON, note, 50)]
        rows += [(at + 1.8, CONTROL, SUSTAIN, 0), (at + 2.8, NOTE_OFF, note, 0)]
        at += 3.2
    events, length = to_samples(make_events(rows), RATE), round((at + 1) * RATE)
    take, asked = Take(play_whole(truth, events, RATE, 128, length), events, RATE), []

    def first_for_strings(guess, recordings):
        asked.append(guess)
        return find_sampled(guess, recordings) if len(asked) > 1 else replace(guess, sampled=False)

    monkeypatch.setattr(fit, "find_sampled", first_for_strings)
    config = Fit(minutes=20.0, partials=12, max_frequency=8000.0, passes=2, jitter=0.0)
    found = fit.fit_piano([take], config)
    assert (len(asked), found.sampled) == (2, True)
    assert asked[1].release[39] == fit.SLOWEST
    assert found.release[39] == pytest.approx(9.0, abs=1.5)
