import numpy as np
import pytest
from support.displaced import RATE, performance

from diffsynth.alignment.tuning import Pitch, measure_pitch
from diffsynth.audio.files import resample
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events
from diffsynth.midi.pitches import TYPICAL_STIFFNESS, string_partials


def chord_scale(cents, stretch):
    """Pairs of notes two octaves apart over five octaves, each with eight partials of a stiff string."""
    rows, audio = [], np.zeros(RATE * 20)
    for step, key in enumerate(range(36, 72, 2)):
        for note in (key, key + 24):
            deviation = cents + stretch * (note - 69) / 12
            fundamental = 440 * 2 ** ((note - 69 + deviation / 100) / 12)
            time = np.arange(RATE) / RATE
            partials = string_partials(1.0, float(np.exp(TYPICAL_STIFFNESS[note - 21])), 8)
            partials *= fundamental / partials[0]
            wave = sum(np.sin(2 * np.pi * f * time) / (k + 1) for k, f in enumerate(partials) if f < 11000)
            audio[step * RATE : (step + 1) * RATE] += 0.1 * wave * np.exp(-3 * time)
            rows += [(step, NOTE_ON, note, 64), (step + 0.8, NOTE_OFF, note, 0)]
    return make_events(rows), audio.astype(np.float32)


@pytest.mark.parametrize(("cents", "stretch"), [(0.0, 0.0), (-18.0, 2.0), (40.0, -1.0)])
def test_an_imposed_tuning_is_measured(cents, stretch):
    found = measure_pitch(*chord_scale(cents, stretch), RATE)
    assert found.cents == pytest.approx(cents, abs=1)
    assert found.stretch == pytest.approx(stretch, abs=1)


def test_half_a_semitone_in_polyphonic_music():
    events, audio = performance("music_3")
    source = round(RATE * 2 ** (0.5 / 12))
    faster = events.copy()
    faster["time"] *= RATE / source
    as_is = measure_pitch(events, audio, RATE)
    sharp = measure_pitch(faster, resample(audio, source, RATE), RATE)
    assert as_is.cents == pytest.approx(0, abs=4)  # a grand as it was tuned
    assert sharp.cents - as_is.cents == pytest.approx(50, abs=1.5)


def test_what_nothing_is_known_about():
    silence = np.zeros(2 * RATE, np.float32)
    note = make_events([(0.0, NOTE_ON, 60, 64), (1.0, NOTE_OFF, 60, 0)])
    assert measure_pitch(note, silence, RATE) == Pitch(None, None)
