"""Strikes that come early or late are put where they sound; labels that are exact stay."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from diffsynth.fitting import fit
from diffsynth.fitting.config import Fit
from diffsynth.fitting.key_modes import remainder
from diffsynth.fitting.strike_times import correct_times
from diffsynth.fitting.strokes import find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events, to_samples
from diffsynth.midi.pitches import equal_tempered, string_partials
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole

RATE = 16000
SECONDS = 40
KEYS = (40, 47, 52, 59, 64, 68)
SCATTER, DELAY = 0.007, 0.005


@pytest.fixture(scope="module")
def piano():
    """Stiff strings: their partials are no multiples, so that no period of theirs looks like another."""
    columns = []
    for key in KEYS:
        partials = string_partials(float(equal_tempered(key - 21)), 4e-4, 24)
        partials = partials[partials < 7000]
        k = np.arange(1, len(partials) + 1)
        columns.append(
            (np.full(len(k), key - 21), partials, 1.0 + 0.3 * k, 0.1 * 0.85**k * np.exp(1j * k**2))
        )
    keys, frequency, decay, amplitude = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Piano(keys, frequency, decay, amplitude, np.full(88, 30.0), np.full(88, 1.5))


def perform(scatter):
    """Rows of one performance as written and as the hammers make it, two or three keys at a time."""
    random, written, played = np.random.default_rng(3), [], []
    for key in KEYS:
        time = random.uniform(0.1, 0.6)
        while time < SECONDS - 2:
            end, velocity = time + random.uniform(0.3, 1.0), int(random.integers(40, 100))
            late = DELAY + float(np.clip(scatter * random.standard_normal(), -0.02, 0.02)) if scatter else 0.0
            for rows, moved, left in ((written, 0.0, 0.0), (played, late, DELAY if scatter else 0.0)):
                rows.append((time + moved, NOTE_ON, key, velocity))
                rows.append((end + left, NOTE_OFF, key, 0))
            time = end + random.uniform(0.4, 2.0)
    return written, played


def record(piano, played):
    audio = play_whole(piano, to_samples(make_events(played), RATE), RATE, 128, SECONDS * RATE)
    noise = np.random.default_rng(5).standard_normal(len(audio))
    return audio + (1e-4 * noise).astype(np.float32)


def onsets(events, key):
    """Moments of the strikes of a key in s, [n]."""
    struck = events[(events["kind"] == NOTE_ON) & (events["number"] == key)]
    return np.sort(struck["position"]) / RATE


@pytest.fixture(scope="module")
def scattered(piano):
    """Take as labelled, as corrected, and the events as they sound."""
    written, played = perform(SCATTER)
    take = Take(record(piano, played), to_samples(make_events(written), RATE), RATE)
    (corrected,) = correct_times([take])
    return take, corrected, to_samples(make_events(played), RATE)


def test_every_strike_is_found_within_a_millisecond(scattered):
    _, corrected, true = scattered
    for key in KEYS:
        error = onsets(corrected.events, key) - onsets(true, key)
        # Where a template begins is a matter of taste, by some milliseconds, but the same for all strikes.
        assert abs(np.median(error)) < 0.004
        assert (np.abs(error - np.median(error)) < 0.001).mean() > 0.95


def test_amplitudes_are_coherent_again(scattered):
    take, corrected, _ = scattered

    def left(one):
        """Share of the energy that a piano fitted to it leaves."""
        as_it_is = patch.object(fit, "balance", lambda piano, *_: piano)
        with patch.object(fit, "correct_times", list), as_it_is:
            piano = fit.fit_piano([one], Fit(minutes=1, partials=24, max_frequency=7000, passes=2, jitter=0))
        (rest,) = remainder(piano, [one], find_strokes([one], piano))
        return float(rest @ rest) / float(one.audio @ one.audio)

    assert left(take) > 0.5
    assert left(corrected) < 0.1


def test_dampers_and_pedals_move_with_the_rest(piano):
    written, played = perform(SCATTER)
    pedal = [(5.0, CONTROL, SUSTAIN, 127), (6.0, CONTROL, SUSTAIN, 0)]
    take = Take(record(piano, played), to_samples(make_events(written + pedal), RATE), RATE)
    (corrected,) = correct_times([take])
    moved = corrected.events[corrected.events["kind"] == CONTROL]["position"] / RATE
    np.testing.assert_allclose(moved, [5.0 + DELAY, 6.0 + DELAY], atol=0.002)
    assert (np.diff(corrected.events["position"]) >= 0).all()
    for key in KEYS:  # no release before its strike
        kinds = corrected.events[corrected.events["number"] == key]["kind"]
        kinds = kinds[kinds != CONTROL]
        assert kinds.tolist() == [NOTE_ON, NOTE_OFF] * (len(kinds) // 2)


def test_exact_labels_stay(piano):
    written, played = perform(0.0)
    take = Take(record(piano, played), to_samples(make_events(written), RATE), RATE)
    assert correct_times([take])[0] is take


def test_nothing_heard_stays(piano):
    written, _ = perform(0.0)
    take = Take(np.zeros(SECONDS * RATE, np.float32), to_samples(make_events(written), RATE), RATE)
    assert correct_times([take])[0] is take
    empty = replace(take, events=take.events[:0])
    assert correct_times([empty])[0] is empty
