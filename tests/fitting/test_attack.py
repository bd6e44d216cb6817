import numpy as np
import pytest

from diffsynth.fitting.attack import add_attacks
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import KEYS, NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole

RATE = 24000
LENGTH = 4 * RATE
# A key with one partial, and a knock of two modes that are gone after some milliseconds.
PARTIAL = (39, 440.0, 3.0, 0.1 + 0.0j)
KNOCKS = [(39, 180.0, 60.0, 0.05j), (39, 2300.0, 250.0, -0.08 + 0.02j)]


def piano(*modes):
    key, frequency, decay, amplitude = (np.array(column) for column in zip(*modes, strict=True))
    release, exponent = np.full(KEYS, 20.0), np.full(KEYS, 2.0)
    return Piano(key.astype(int), frequency, decay, amplitude.astype(complex), release, exponent)


def strikes(times, key=60):
    rows = [(t, NOTE_ON, key, 50 + 20 * i) for i, t in enumerate(times)]
    rows += [(t + 0.3, NOTE_OFF, key, 0) for t in times]
    return to_samples(make_events(rows), RATE)


def record(instrument, events, noise=0.0):
    audio = play_whole(instrument, events, RATE, 128, LENGTH)
    audio = audio + noise * np.random.default_rng(0).standard_normal(LENGTH)
    return Take(audio.astype(np.float32), events, RATE)


def test_modes_of_a_knock_are_found():
    recording = record(piano(PARTIAL, *KNOCKS), strikes([0.5, 1.25, 2.5]), noise=1e-5)
    fitted = add_attacks(piano(PARTIAL), [recording], 10500.0)
    assert (fitted.key == 39).all()
    for _, frequency, decay, amplitude in KNOCKS:
        nearest = np.argmin(np.abs(fitted.frequency - frequency))
        assert fitted.frequency[nearest] == pytest.approx(frequency, abs=2.0)
        assert fitted.decay[nearest] == pytest.approx(decay, rel=0.05)
        assert fitted.amplitude[nearest] == pytest.approx(amplitude, abs=0.05 * abs(amplitude))
    again = play_whole(fitted, recording.events, RATE, 128, LENGTH)
    before = play_whole(piano(PARTIAL), recording.events, RATE, 128, LENGTH)
    error = [np.sum((recording.audio - audio) ** 2) for audio in (again, before)]
    assert error[0] < 0.01 * error[1]


def test_modes_stay_ordered_by_key_and_partials_stay_as_they_are():
    low, high = (10, 100.0, 2.0, 0.1), (60, 1500.0, 8.0, 0.1)
    recording = record(piano(low, PARTIAL, *KNOCKS, high), strikes([0.5, 1.5, 2.5]))
    fitted = add_attacks(piano(low, PARTIAL, high), [recording], 10500.0)
    assert (np.diff(fitted.key) >= 0).all()
    assert set(fitted.key.tolist()) == {10, 39, 60}
    for _, frequency, decay, amplitude in (low, PARTIAL, high):
        place = np.flatnonzero(fitted.frequency == frequency)
        assert fitted.decay[place].tolist() == [decay]
        assert fitted.amplitude[place].tolist() == [amplitude]


def test_noise_is_not_taken_for_an_attack():
    recording = record(piano(PARTIAL), strikes([0.5, 1.5, 2.5]), noise=1e-3)
    assert len(add_attacks(piano(PARTIAL), [recording], 10500.0).key) == 1


def test_no_mode_lies_above_the_highest_frequency():
    recording = record(piano(PARTIAL, *KNOCKS), strikes([0.5, 1.5, 2.5]))
    fitted = add_attacks(piano(PARTIAL), [recording], 1000.0)
    assert fitted.frequency.max() < 1000.0


@pytest.mark.parametrize("times", [[], [0.5, 0.51, 0.52]])
def test_without_strikes_that_stand_alone_nothing_is_added(times):
    recording = record(piano(PARTIAL, *KNOCKS), strikes(times))
    fitted = add_attacks(piano(PARTIAL), [recording], 10500.0)
    assert len(fitted.key) == 1
