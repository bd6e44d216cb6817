"""Strokes against the bank that plays them and against sums over samples."""

from dataclasses import replace

import numpy as np
import pytest

from diffsynth.fitting.key_modes import KeyModes, modes_of, remainder
from diffsynth.fitting.strokes import Pieces, Strokes, find_strokes, whole
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events, to_samples
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole

RATE = 24000
LENGTH = 3 * RATE


def piano():
    """Two keys, one of them with two modes that beat."""
    return Piano(
        key=np.array([27, 39, 39, 39]),
        frequency=np.array([130.8, 261.6, 262.4, 523.9]),
        decay=np.array([1.0, 2.0, 0.8, 4.0]),
        amplitude=np.array([0.1, 0.05 + 0.02j, -0.03j, 0.02]),
        release=np.full(88, 20.0),
        exponent=np.full(88, 1.5),
    )


def every_key():
    """The same, every strike a voice of its own."""
    return replace(piano(), sampled=True)


# Key 39 is struck again while the pedal holds it, then damped, then struck again; 27 rings to the end.
EVENTS = to_samples(
    make_events(
        [
            (0.10, NOTE_ON, 60, 64),
            (0.25, CONTROL, SUSTAIN, 127),
            (0.30, NOTE_OFF, 60, 0),
            (0.52, NOTE_ON, 60, 100),
            (0.60, NOTE_OFF, 60, 0),
            (0.70, NOTE_ON, 48, 80),
            (0.90, CONTROL, SUSTAIN, 0),
            (1.00, NOTE_ON, 60, 30),
            (2.00, NOTE_OFF, 60, 0),
        ]
    ),
    RATE,
)


# A finger stays on the second strike when the pedal rises, and is struck a third time after that.
HELD = to_samples(
    make_events(
        [
            (0.05, CONTROL, SUSTAIN, 127),
            (0.10, NOTE_ON, 60, 64),
            (0.30, NOTE_OFF, 60, 0),
            (0.52, NOTE_ON, 60, 100),
            (0.90, CONTROL, SUSTAIN, 0),
            (1.20, CONTROL, SUSTAIN, 127),
            (1.30, NOTE_OFF, 60, 0),
            (1.40, NOTE_ON, 60, 30),
            (1.70, CONTROL, SUSTAIN, 0),
            (2.40, NOTE_OFF, 60, 0),
        ]
    ),
    RATE,
)


def recording(audio=None, events=EVENTS):
    audio = np.zeros(LENGTH, dtype=np.float32) if audio is None else audio
    return Take(audio, events, RATE)


def noise():
    return np.random.default_rng(3).standard_normal(LENGTH).astype(np.float32)


def test_strokes_by_hand():
    low, high = (find_strokes([recording()], piano())[key] for key in (27, 39))
    assert (low.onset.tolist(), low.free.tolist()) == ([16800], [LENGTH - 16800])
    assert (low.damps.tolist(), low.carry.tolist()) == ([False], [0])
    assert high.onset.tolist() == [2400, 12480, 24000]
    assert high.free.tolist() == [10080, 9120, 24000]
    assert high.damps.tolist() == [False, True, True]
    assert high.carry.tolist() == [0, 10080, 0]
    assert not high.age.any()
    np.testing.assert_allclose(high.velocity, [1.0, 100 / 64, 30 / 64])


def test_strokes_of_a_sampler_by_hand():
    (strokes,) = (find_strokes([recording(events=HELD)], every_key())[key] for key in (39,))
    assert strokes.onset.tolist() == [2400, 12480, 21600, 33600, 40800]
    assert strokes.free.tolist() == [10080, 9120, 12000, 7200, 16800]
    assert strokes.damps.tolist() == [False, False, False, False, True]
    assert strokes.carry.tolist() == [0, 10080, 0, 12000, 0]
    assert strokes.age.tolist() == [0, 0, 9120, 0, 7200]
    np.testing.assert_allclose(strokes.velocity * 64, [64, 100, 100, 30, 30])
    assert not find_strokes([recording(events=HELD)], piano())[39].age.any()


def test_strokes_of_a_sampler_sound_like_its_bank():
    played, string = (play_whole(p, HELD, RATE, 128, LENGTH) for p in (every_key(), piano()))
    strokes = find_strokes([recording(events=HELD)], every_key())
    (rest,) = remainder(every_key(), [recording(played, HELD)], strokes)
    assert np.linalg.norm(rest) < 5e-3 * np.linalg.norm(played)
    assert np.linalg.norm(string - played) > 0.2 * np.linalg.norm(played)


def test_strokes_sound_like_the_bank():
    played = play_whole(piano(), EVENTS, RATE, 128, LENGTH)
    (rest,) = remainder(piano(), [recording(played)], find_strokes([recording()], piano()))
    # The bank lets dampers fall at the nearest frame border; strokes do where the event is.
    assert np.linalg.norm(rest) < 5e-3 * np.linalg.norm(played)
    assert np.abs(rest[:21600]).max() < 1e-6


def brute(modes, strokes, audio, pieces, power):
    """Projections and products as sums over samples, times t^power."""
    hermitian = plain = 0
    projections = []
    for n, offset, length, weight in zip(
        pieces.stroke, pieces.offset, pieces.length, pieces.weight, strict=True
    ):
        t = offset + np.arange(length)
        turning = modes.state[n] * np.exp(modes.pole * t[:, None])
        timed = weight * turning * (t[:, None] / RATE) ** power
        hermitian = hermitian + turning.conj().T @ timed
        plain = plain + turning.T @ timed
        projections.append(audio[strokes.onset[n] + offset :][:length] @ timed.conj())
    return np.array(projections), hermitian, plain


def parts(strokes):
    """Pieces of three strokes: one whole, one from its middle, two of one."""
    half = strokes.free // 2
    return Pieces(
        np.array([0, 1, 2, 2]),
        np.array([0, 700, 0, half[2]]),
        np.array([strokes.free[0], half[1], half[2], 100]),
        np.array([1.0, 0.3, 20.0, 2.0]),
    )


@pytest.mark.parametrize("power", [0, 1, 2])
@pytest.mark.parametrize("cut", [lambda strokes: whole(strokes, np.arange(3)), parts])
def test_products_and_projections_are_sums_over_samples(power, cut):
    strokes = find_strokes([recording()], piano())[39]
    modes, pieces = modes_of(piano(), 39, strokes, RATE), cut(strokes)
    projections, hermitian, plain = brute(modes, strokes, noise(), pieces, power)
    found = modes.products(pieces)
    np.testing.assert_allclose(found[0][power], hermitian, rtol=1e-8)
    np.testing.assert_allclose(found[1][power], plain, rtol=1e-7, atol=1e-8 * np.abs(hermitian).max())
    if power < 2:
        again = modes.project([noise()], pieces)[power]
        np.testing.assert_allclose(again, projections, rtol=1e-4, atol=1e-3)


def test_what_a_strike_starts_with():
    strokes = find_strokes([recording()], piano())[39]
    modes = modes_of(piano(), 39, strokes, RATE)
    left = np.exp(modes.pole * 10080)
    np.testing.assert_allclose(modes.state[1], (100 / 64) ** 1.5 + left)
    np.testing.assert_allclose(modes.state[2], (30 / 64) ** 1.5)


def test_the_slowest_modes_keep_their_digits():
    # Two almost equal, almost endless modes over a short stroke: sums of t^2 cancel to 1e-7 of their parts.
    pole = np.array([2j * np.pi * 500.0 - 0.05, 2j * np.pi * 500.001 - 0.051])
    one = np.array([0])
    strokes = Strokes(one, one, np.array([1500]), np.array([False]), one, one, np.array([1.0]))
    modes = KeyModes(pole, np.ones(len(pole)), 20.0, strokes, RATE)
    for power in range(3):
        _, hermitian, plain = brute(modes, strokes, np.zeros(1500), whole(strokes, one), power)
        found = modes.products(whole(strokes, one))
        np.testing.assert_allclose(found[0][power], hermitian, rtol=1e-6)
        np.testing.assert_allclose(found[1][power], plain, atol=1e-6 * np.abs(hermitian).max())
