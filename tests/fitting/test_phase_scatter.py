"""Phases that do not repeat: they are found, and magnitudes survive them."""

import numpy as np
import pytest

from diffsynth.fitting.key_modes import modes_of
from diffsynth.fitting.phase_scatter import find_turns, partials_of
from diffsynth.fitting.refine import refine
from diffsynth.fitting.strokes import find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.midi.pitches import equal_tempered
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole

RATE = 24000
STRIKES = 24
LENGTH = STRIKES * RATE
KEY = 39
NOISE = 1e-4


def piano():
    """One key: two partials, the first of two modes that beat, far below it a softer third one."""
    base = float(equal_tempered(KEY))
    return Piano(
        key=np.full(4, KEY),
        frequency=np.array([base, base + 0.8, 2.002 * base, 3.01 * base]),
        decay=np.array([1.0, 2.0, 3.0, 4.0]),
        amplitude=np.array([0.05, 0.03j, 0.04 - 0.01j, 0.01j]),
        release=np.full(88, 20.0),
        exponent=np.full(88, 1.0),
    )


def events(late=0.0):
    """A strike every second, its label late by up to `late` seconds either way."""
    shift = late * np.random.default_rng(1).uniform(-1, 1, STRIKES)
    rows = [(i + 0.05 + shift[i], NOTE_ON, KEY + 21, 50 + 2 * i) for i in range(STRIKES)]
    rows += [(i + 0.9, NOTE_OFF, KEY + 21, 0) for i in range(STRIKES)]
    return to_samples(make_events(rows), RATE)


def noise():
    return (NOISE * np.random.default_rng(2).standard_normal(LENGTH)).astype(np.float32)


def turns_of(phases):
    """Turns found in audio whose strikes turn the modes by phases, [n, p]."""
    (strokes,) = (find_strokes([Take(noise(), events(), RATE)], piano())[key] for key in (KEY,))
    rest = [noise()]
    modes_of(piano(), KEY, strokes, RATE, np.exp(1j * phases)).add(piano().amplitude, rest)
    modes = modes_of(piano(), KEY, strokes, RATE)
    modes.add(-piano().amplitude, rest)
    partial = partials_of(piano().frequency, KEY)
    everything = np.arange(len(modes.strokes.velocity))
    return find_turns(modes, piano().amplitude, partial, rest, np.full(4, NOISE**2), everything)


def test_modes_close_to_each_other_are_one_partial():
    frequency = np.array([523.0, 261.0, 262.0, 1050.0, 530.0])
    assert partials_of(frequency, KEY).tolist() == [1, 0, 0, 2, 1]


def test_turns_are_found_partial_by_partial():
    phases = np.random.default_rng(3).uniform(-np.pi, np.pi, (STRIKES, 3))[:, [0, 0, 1, 2]]
    found = turns_of(phases)
    error = np.abs(np.angle(found * np.exp(-1j * phases)))
    assert error[:, :3].max() < 0.02
    assert error[:, 3].max() < 0.1  # the softest meets what the loud ones leave at their onsets
    np.testing.assert_allclose(np.abs(found), 1.0)


def test_only_partials_whose_phases_scatter_are_turned():
    phases = np.zeros((STRIKES, 4))
    phases[:, 2] = np.linspace(0, 20, STRIKES)
    phases[:, 0] = phases[:, 1] = 1.3  # wrong, but always in the same way: amplitudes will tell
    phases[:, 3] = 0.1 * np.sin(np.arange(STRIKES))
    found = turns_of(phases)
    np.testing.assert_array_equal(found[:, [0, 1, 3]], 1.0)
    assert np.abs(np.angle(found[:, 2] * np.exp(-1j * phases[:, 2]))).max() < 0.05


@pytest.mark.parametrize("late", [0.0, 0.003])
def test_magnitudes_survive_labels_that_are_late(late):
    # 3 ms are nearly a whole turn of the first partial either way: the mean over strikes is next to nothing.
    audio = play_whole(piano(), events(), RATE, 128, LENGTH) + noise()
    found = refine(piano(), [Take(audio, events(late), RATE)], 2)
    np.testing.assert_allclose(
        np.abs(found.amplitude), np.abs(piano().amplitude), rtol=0.12 if late else 0.01
    )
    np.testing.assert_allclose(found.decay, piano().decay, rtol=0.15 if late else 0.02)
