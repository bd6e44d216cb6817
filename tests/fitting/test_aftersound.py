"""Aftersound: slow modes that are there are found, and none that are not."""

import numpy as np
import pytest

from diffsynth.fitting.aftersound import add_aftersound, slow_modes
from diffsynth.fitting.refine import refine
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import KEYS, NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole

RATE = 24000
SECONDS = 40
# Key, frequency, decay and amplitude: partials of two keys, and what these go on with, 30 to 40 dB below.
PROMPT = [(30, 156.0, 4.0, 0.1), (30, 312.1, 6.0, 0.05j), (51, 523.0, 8.0, 0.08)]
SLOW = [(30, 155.6, 0.5, 0.002j), (30, 312.4, 0.7, 0.0015), (51, 523.4, 1.2, -0.001)]


def piano(modes):
    key, frequency, decay, amplitude = (np.array(column) for column in zip(*modes, strict=True))
    order = np.argsort(key, kind="stable")
    columns = (c[order] for c in (key.astype(int), frequency, decay, amplitude.astype(complex)))
    return Piano(*columns, np.full(KEYS, 30.0), np.full(KEYS, 1.5))


def held(strikes):
    """Each key by itself, held for four seconds."""
    rows, keys = [], (51, 72)
    for i in range(strikes):
        start = 0.5 + 4.5 * i
        rows += [(start, NOTE_ON, keys[i % 2], 60 + 10 * i), (start + 4.0, NOTE_OFF, keys[i % 2], 0)]
    return to_samples(make_events(rows), RATE)


def record(modes, events, noise=1e-6):
    audio = play_whole(piano(modes), events, RATE, 128, SECONDS * RATE)
    audio = audio + noise * np.random.default_rng(1).standard_normal(len(audio))
    return Take(audio.astype(np.float32), events, RATE)


def late_levels(audio):
    """Levels in dB of the last second of every strike."""
    parts = [audio[round((3.5 + 4.5 * i) * RATE) :][:RATE] for i in range(8)]
    return np.array([10 * np.log10(np.mean(np.square(part, dtype=float)) + 1e-15) for part in parts])


def test_slow_modes_are_found():
    events = held(8)
    recording = record(PROMPT + SLOW, events)
    found = add_aftersound(piano(PROMPT), [recording], 10500.0)
    assert len(found.key) == len(PROMPT) + len(SLOW)
    for key, frequency, decay, amplitude in SLOW:
        nearest = np.argmin(np.abs(found.frequency - frequency) + 100 * (found.key != key))
        assert found.frequency[nearest] == pytest.approx(frequency, abs=0.1)
        assert found.decay[nearest] == pytest.approx(decay, abs=0.1)
        assert abs(found.amplitude[nearest] - amplitude) < 0.2 * abs(amplitude)


def test_refined_with_them_the_ends_of_notes_have_their_level():
    recording = record(PROMPT + SLOW, held(8))
    wanted = late_levels(recording.audio)
    start = piano(PROMPT)
    without, with_them = (
        refine(p, [recording], 2) for p in (start, add_aftersound(start, [recording], 10500.0))
    )
    levels = [late_levels(play_whole(p, held(8), RATE, 128, SECONDS * RATE)) for p in (without, with_them)]
    assert np.abs(levels[0] - wanted).max() > 10
    assert np.abs(levels[1] - wanted).max() < 0.5


@pytest.mark.parametrize("noise", [1e-5, 1e-3])
def test_there_is_none_in_noise(noise):
    recording = record(PROMPT, held(8), noise)
    found = add_aftersound(piano(PROMPT), [recording], 10500.0)
    assert len(found.key) == len(PROMPT)


def test_notes_that_never_ring_alone_show_none():
    rows = [(0.5, NOTE_ON, 51, 80), (0.55, NOTE_ON, 72, 80), (30.0, NOTE_OFF, 51, 0), (30.0, NOTE_OFF, 72, 0)]
    recording = record(PROMPT + SLOW, to_samples(make_events(rows), RATE))
    assert len(add_aftersound(piano(PROMPT), [recording], 10500.0).key) == len(PROMPT)


def test_none_lies_above_the_highest_frequency():
    recording = record(PROMPT + SLOW, held(8))
    found = add_aftersound(piano(PROMPT), [recording], 400.0)
    assert sorted(found.frequency[found.decay < 2.0].tolist()) == pytest.approx([155.6, 312.4], abs=0.1)


def test_keys_that_are_struck_too_rarely_to_be_refined_are_not_harmed():
    recording = record(PROMPT + SLOW, held(2))
    found = add_aftersound(piano(PROMPT), [recording], 10500.0)
    audio = [play_whole(p, held(2), RATE, 128, SECONDS * RATE) for p in (piano(PROMPT), found)]
    before, after = (np.sum((recording.audio - a) ** 2) for a in audio)
    assert len(found.key) > len(PROMPT)
    assert after < before


def test_a_short_envelope_has_none():
    rest = np.full(7, 1e-3 + 0j)
    assert len(slow_modes(rest, rest, 0.03)[0]) == 0
