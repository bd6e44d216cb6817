"""How strikes grow with velocity, by frequency, is measured from recordings."""

from dataclasses import replace

import numpy as np
import pytest

from diffsynth.fitting.takes import Take
from diffsynth.fitting.velocity_law import measure_law
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.piano.piano import colours
from diffsynth.piano.playing import play_whole

RATE = 24000
COLOUR = np.array([0.0, -0.2, 0.3, 1.0, 2.0, 2.5])


def record(piano, strikes=160, softest=30):
    """Keys struck one after another, at any velocity."""
    random = np.random.default_rng(1)
    keys, velocities = random.integers(40, 100, strikes), random.integers(softest, 110, strikes)
    rows = []
    for number, (key, velocity) in enumerate(zip(keys.tolist(), velocities.tolist(), strict=True)):
        rows += [(0.3 * number, NOTE_ON, key, velocity), (0.3 * number + 0.15, NOTE_OFF, key, 0)]
    events = to_samples(make_events(rows), RATE)
    audio = play_whole(piano, events, RATE, 128, round((0.3 * strikes + 1) * RATE))
    noise = np.random.default_rng(2).standard_normal(len(audio))
    return Take(audio + (1e-6 * noise).astype(np.float32), events, RATE)


@pytest.mark.parametrize("colour", [COLOUR, np.zeros(6)], ids=["a real piano", "a sampled one"])
def test_the_law_is_found(piano, colour):
    law = measure_law([record(replace(piano, colour=colour))], otherwise=2.0)
    assert law.exponent == pytest.approx(np.full(88, 1.5), abs=0.1)
    frequency = np.array([250.0, 500.0, 1000.0, 2000.0, 4000.0])
    # Octaves mix what is within them, and partials of neighbours leak into the weakest.
    np.testing.assert_allclose(law.exponents(0, frequency), 1.5 + colours(frequency, colour), atol=0.35)


@pytest.mark.parametrize("softest", [27, 1])
def test_the_velocity_below_which_strikes_are_no_softer_is_found(piano, softest):
    law = measure_law([record(replace(piano, softest=float(softest)), softest=1)], otherwise=2.0)
    assert law.softest == softest
    assert law.exponent == pytest.approx(np.full(88, 1.5), abs=0.1)
    frequency = np.array([250.0, 1000.0])
    np.testing.assert_allclose(
        law.gains(3, 10, frequency),
        law.gains(3, softest, frequency) if softest > 10 else (10 / 64) ** law.exponents(3, frequency),
    )


def test_strikes_that_noise_hides_do_not_make_the_exponent_smaller(piano):
    # Strikes vary around the law: of those that noise nearly hides, the loud ones are seen.
    take, length = record(replace(piano, colour=COLOUR), strikes=1200), round(0.3 * RATE)
    vary = np.random.default_rng(4).normal(0, 0.6, len(take.audio) // length + 1)
    white = np.random.default_rng(2).standard_normal(len(take.audio))
    level = 3e-2 * np.abs(take.audio).max()
    audio = take.audio * np.repeat(np.exp(vary), length)[: len(take.audio)] + level * white
    law = measure_law([replace(take, audio=audio.astype(np.float32))], otherwise=2.0)
    frequency = np.array([250.0, 500.0, 1000.0, 2000.0, 4000.0])
    np.testing.assert_allclose(law.exponents(0, frequency), 1.5 + colours(frequency, COLOUR), atol=0.35)


def test_where_nothing_stands_alone_the_given_exponent_is_taken(piano):
    take = record(piano, strikes=4)
    law = measure_law([replace(take, events=take.events[:2])], otherwise=1.7)
    np.testing.assert_array_equal(law.exponent, 1.7)
    np.testing.assert_array_equal(law.colour, 0.0)
