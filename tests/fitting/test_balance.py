"""Levels are found again from a recording that was made with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.noisy_piano import make_noise

from diffsynth.audio.band_levels import BandLevels
from diffsynth.audio.mel_bands import centres_of, shares_of
from diffsynth.fitting.balance import (
    BANDS,
    BINS,
    RANGE,
    Factors,
    Levels,
    _chosen,
    _error,
    balance,
    driven_powers,
)
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events, to_samples
from diffsynth.piano.noise import DRIVES, UNDER_PEDAL
from diffsynth.piano.playing import play_whole

RATE, SECONDS = 16000, 60


def events():
    random, rows = np.random.default_rng(3), []
    times = np.arange(1.0, SECONDS - 3, 0.7)
    for time in times[times % 12 < 7]:  # with rests, in which the floor is heard
        for key in random.integers(30, 90, 2):
            begin = time + random.uniform(0, 0.2)
            rows.append((begin, NOTE_ON, int(key), int(random.integers(30, 110))))
            rows.append((begin + random.uniform(0.2, 0.6), NOTE_OFF, int(key), 0))
    rows += [(at, CONTROL, SUSTAIN, 127 * (i % 2)) for i, at in enumerate(np.arange(5.0, SECONDS - 2, 3.0))]
    return to_samples(make_events(rows), RATE)


def noise_of(piano, noise):
    """[time] of the noise alone."""
    silent = replace(piano, noise=noise, amplitude=0 * piano.amplitude)
    return play_whole(silent, events(), RATE, 128, SECONDS * RATE)


@pytest.fixture(scope="module")
def modes(piano):
    return play_whole(piano, events(), RATE, 128, SECONDS * RATE)


def test_noise_and_the_levels_of_modes_are_found_again(piano, modes):
    true = make_noise(
        floor=3e-9, strike=2e-7, key_up=0.0, pedal=0.0, pedalled=0.0, bands=BANDS, highest=7200.0
    )
    true.weight[0, UNDER_PEDAL] = 0.0  # what the fit does not look for
    noise = noise_of(piano, true)
    high = piano.frequency > 2000
    wrong = replace(piano, amplitude=np.where(high, 2.0, 1.0) * piano.amplitude)
    found = balance(wrong, [Take(modes + noise, events(), RATE)], 10500.0)
    assert found.noise.centre.size == BANDS
    change = 20 * np.log10(np.abs(found.amplitude / wrong.amplitude))
    for lowest, highest, wanted in ((2500, 6000, -6.0), (200, 1500, 0.0)):
        among = change[(piano.frequency > lowest) & (piano.frequency < highest)]
        assert np.median(among) == pytest.approx(wanted, abs=1)
    analyse = BandLevels(true.centre, RATE, 1024, 128)
    # The floor by itself, before the first note, and all of it, over the whole.
    for part, within in ((slice(0, RATE), 2.0), (slice(0, SECONDS * RATE), 1.5)):
        wanted, given = (
            analyse(sound[part])[20:].mean(axis=0)[8:-1] for sound in (noise, noise_of(piano, found.noise))
        )
        assert np.abs(10 * np.log10(given / wanted)).mean() < within


def test_a_piano_that_is_right_stays_as_it_is(piano, modes):
    assert balance(piano, [Take(modes, events(), RATE)], 10500.0) is piano


def test_a_sampled_instrument_is_silent_where_nothing_sounds(piano, modes):
    true = make_noise(
        floor=3e-9, strike=2e-7, key_up=0.0, pedal=0.0, pedalled=0.0, bands=BANDS, highest=7200.0
    )
    true.weight[0, UNDER_PEDAL] = 0.0
    recording = Take(modes + noise_of(piano, true), events(), RATE)
    strings, voices = (balance(replace(piano, sampled=kind), [recording], 10500.0) for kind in (False, True))
    assert strings.noise.floor.max() > 1e-9
    assert not voices.noise.floor.any()
    assert voices.noise.weight.max() > 0


def test_what_is_silent_does_not_count_however_much_of_it_there_is():
    random = np.random.default_rng(4)
    heard, modes = (random.uniform(1e-6, 1e-3, (5, 40)) for _ in range(2))
    expected = np.abs(10 * np.log10((modes + RANGE) / (heard + RANGE))).mean()
    silence = torch.full((1 + 2 * len(DRIVES), BANDS), -torch.inf)
    for silent in (0, 1, 500):
        padded = [np.pad(levels, ((0, silent), (0, silent))) for levels in (heard, modes)]
        size = 5 + silent
        levels = Levels(
            *(torch.from_numpy(padded[i]).float() for i in (0, 1)),
            torch.zeros(2 * len(DRIVES), BANDS, 40 + silent),
            torch.zeros(40 + silent, dtype=torch.bool),
            torch.ones(size, BANDS) / BANDS,
            torch.ones(size, BANDS),
            torch.ones(size),
        )
        found = _error(levels, Factors(torch.zeros(BANDS), silence[0], silence[1:]))
        assert found == pytest.approx(expected, rel=1e-4)


def test_few_frequencies_stand_for_all():
    bins = np.arange(2560) * 7.8125
    shares = shares_of(bins, centres_of(BANDS, 40.0, 20000.0)).T
    chosen, count = _chosen(shares)
    assert count.sum() == len(bins)
    of_band = np.bincount(shares[chosen].argmax(axis=1), minlength=BANDS)
    wide = shares.sum(axis=0) > 2 * BINS
    assert ((of_band[wide] >= BINS / 2) & (of_band[wide] <= 2 * BINS)).all()
    narrow = np.bincount(shares.argmax(axis=1), minlength=BANDS) <= 5
    np.testing.assert_array_equal(
        of_band[narrow], np.bincount(shares.argmax(axis=1), minlength=BANDS)[narrow]
    )


def test_noise_is_as_loud_as_what_drives_it_says(piano):
    noise = make_noise(
        floor=1e-7, strike=3e-6, key_up=1e-6, pedal=1e-6, pedalled=2e-6, bands=BANDS, highest=7200.0
    )
    noise.weight[0, UNDER_PEDAL] = 0.0
    take = Take(noise_of(piano, noise), events(), RATE)
    driven = driven_powers(piano, [take], noise.centre)
    expected = (np.vstack([noise.floor, *noise.weight]) * driven).sum()
    assert 10 * np.log10(np.mean(take.audio**2) / expected) == pytest.approx(0.0, abs=0.3)
