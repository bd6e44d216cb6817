"""Fitting: a known piano is recovered from its own playing."""

from dataclasses import replace

import numpy as np
import pytest

from diffsynth.errors import UserError
from diffsynth.fitting.config import Fit
from diffsynth.fitting.fit import UNDAMPED, dying, fit_piano
from diffsynth.fitting.partial_tracking import find_conflicts, follow, window_length
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SAMPLE_EVENT, SUSTAIN
from diffsynth.midi.pitches import equal_tempered, string_partials
from diffsynth.midi.strikes import sounding_map, soundings
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole

RATE = 24000
CONFIG = Fit(minutes=20.0, partials=12, max_frequency=10500.0, passes=2, jitter=0.0)

# The piano that is to be found: stretched, inharmonic, single decays that grow with frequency.
KEYS = np.array([15, 22, 27, 34, 39, 43, 46, 51, 58, 63, 70])
CENTS = 0.4 * (KEYS - 39.0) + 6.0
STIFFNESS = 1.6e-4 * np.exp(0.045 * (KEYS - 15))
EXPONENT = 1.4
RELEASE = 24.0


def true_modes(key):
    """Frequencies, decays and amplitudes of the first eight partials."""
    i = int(np.flatnonzero(key == KEYS)[0])
    k = np.arange(1, 9)
    frequency = string_partials(equal_tempered(key) * 2 ** (CENTS[i] / 1200), STIFFNESS[i], 8)
    decay = 0.8 + 0.25 * k + 0.01 * key
    amplitude = 0.05 / k * np.exp(1j * (0.4 * k**2 + 0.1 * key))
    return frequency, decay, amplitude


def true_piano():
    columns = [true_modes(key) for key in KEYS]
    frequency, decay, amplitude = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Piano(
        key=np.repeat(KEYS, 8),
        frequency=frequency,
        decay=decay,
        amplitude=amplitude,
        release=np.full(88, RELEASE),
        exponent=np.full(88, EXPONENT),
    )


def events_of(*rows):
    rows = sorted(rows, key=lambda row: row[:2])
    return np.array(rows, dtype=SAMPLE_EVENT)


def note(onset, end, key, velocity):
    """A note, times in s, key from 0."""
    return (int(onset * RATE), NOTE_ON, key + 21, velocity), (int(end * RATE), NOTE_OFF, key + 21, 0)


def performance():
    """Every key once alone, then chords and melodies at many velocities."""
    random = np.random.default_rng(2)
    rows, time = [], 0.1
    for key in KEYS:
        rows += note(time, time + 0.9, key, int(random.integers(40, 110)))
        time += 1.2
    for _ in range(45):
        chord = random.choice(KEYS, size=int(random.integers(1, 4)), replace=False)
        velocity = int(random.integers(25, 120))
        for key in chord:
            rows += note(time, time + random.uniform(0.3, 0.9), int(key), velocity)
        time += random.uniform(0.5, 1.1)
    return events_of(*rows), int((time + 1) * RATE)


@pytest.fixture(scope="module")
def fitted():
    events, length = performance()
    audio = play_whole(true_piano(), events, RATE, 128, length)
    audio += 1e-4 * np.random.default_rng(5).standard_normal(length).astype(np.float32)
    return fit_piano([Take(audio, events, RATE)], CONFIG)


def strongest(piano, key, frequency):
    """The loudest mode of a key near a frequency: its frequency, decay and amplitude."""
    mine = np.flatnonzero((piano.key == key) & (np.abs(piano.frequency - frequency) < 8))
    best = mine[np.argmax(np.abs(piano.amplitude[mine]))]
    return piano.frequency[best], piano.decay[best], piano.amplitude[best]


@pytest.mark.parametrize("key", KEYS)
def test_a_known_piano_is_found_again(fitted, key):
    truth = np.stack(true_modes(key), axis=1)
    truth = truth[truth[:, 0].real < CONFIG.max_frequency]
    found = np.array([strongest(fitted, key, f.real) for f in truth[:, 0]])
    cents = 1200 * np.log2(found[:, 0].real / truth[:, 0].real)
    decibels = 20 * np.log10(np.abs(found[:, 2]) / np.abs(truth[:, 2]))
    assert np.abs(cents).max() < 3
    assert np.abs(cents[:4]).max() < 1.5
    assert np.abs(decibels).max() < 1.0
    np.testing.assert_allclose(found[:, 1].real, truth[:, 1].real, rtol=0.15)
    assert np.abs(np.angle(found[:, 2] / truth[:, 2])).max() < 0.3


def test_velocity_and_release_are_found(fitted):
    np.testing.assert_allclose(fitted.exponent[KEYS], EXPONENT, atol=0.05)
    np.testing.assert_allclose(fitted.release, RELEASE, rtol=0.03)


def test_a_room_does_not_hide_dampers():
    # What is heard after a damper falls by 5 nepers a second, as in a room, whatever the damper does.
    events, length = performance()
    audio = play_whole(replace(true_piano(), release=np.full(88, 5.0)), events, RATE, 128, length)
    fitted = fit_piano([Take(audio, events, RATE)], replace(CONFIG, passes=0))
    np.testing.assert_array_equal(fitted.release[:67], 15.0)
    np.testing.assert_allclose(fitted.release[67:], 5.0, rtol=0.2)  # no dampers there: as measured


def test_the_fit_plays_what_it_was_fitted_to(fitted):
    events, length = performance()
    truth = play_whole(true_piano(), events, RATE, 128, length)
    # The truth begins with a step; a piano that is fitted rises, which takes something from the beginning.
    for rise, most in ((0.0, 0.06), (fitted.rise, 0.08)):
        error = play_whole(replace(fitted, rise=rise), events, RATE, 128, length) - truth
        assert np.linalg.norm(error) < most * np.linalg.norm(truth)


def test_a_key_never_heard_sounds_like_its_neighbour_at_its_own_pitch(fitted):
    # 40 lies beside 39, in whose tuning and stiffness between the keys around it.
    cents, stiffness = np.interp(40, KEYS, CENTS), np.exp(np.interp(40, KEYS, np.log(STIFFNESS)))
    expected = string_partials(equal_tempered(40) * 2 ** (cents / 1200), stiffness, 8)
    _, decay, amplitude = true_modes(39)
    for f, d, a in zip(expected, decay, amplitude, strict=True):
        frequency, found_decay, found_amplitude = strongest(fitted, 40, f)
        assert abs(1200 * np.log2(frequency / f)) < 4
        assert found_decay == pytest.approx(d, rel=0.15)
        assert abs(found_amplitude) == pytest.approx(abs(a), rel=0.12)
    assert set(fitted.key.tolist()) == set(range(88))
    assert fitted.exponent[40] == pytest.approx(EXPONENT, abs=0.1)
    assert fitted.frequency.max() < 10500 + 8
    assert fitted.amplitude.shape == fitted.frequency.shape
    assert np.abs(fitted.amplitude).max() < 0.06


def test_a_partial_always_masked_comes_from_the_nearest_key_that_shows_it():
    # 39 and the octave above are only ever played together: even partials of 39 are masked.
    piano = true_piano()
    rows = [*note(0.1, 1.5, 34, 80), *note(2.0, 3.4, 43, 80)]
    for start in (4.0, 6.0):
        rows += [*note(start, start + 1.4, 39, 80), *note(start, start + 1.4, 51, 80)]
    events = events_of(*rows)
    audio = play_whole(piano, events, RATE, 128, 8 * RATE)
    fitted = fit_piano([Take(audio, events, RATE)], CONFIG)
    _, _, amplitude = true_modes(39)
    for partial in (1, 3):
        _, _, found = strongest(fitted, 39, true_modes(39)[0][partial])
        assert abs(found) == pytest.approx(abs(amplitude[partial]), rel=0.15)


NO_NOTES = "no note rings long enough to fit the piano"


@pytest.mark.parametrize(
    ("events", "audio"),
    [
        (events_of(), np.zeros(RATE, np.float32)),
        (events_of(*note(0.1, 0.9, 39, 64)), np.zeros(RATE, np.float32)),
        (events_of(*note(0.1, 0.9, 39, 64)), np.full(RATE, 1e-6, np.float32)),
        (events_of(*note(0.5, 0.501, 39, 64)), 0.1 * np.ones(RATE, np.float32)),
        (events_of(*note(2.0, 3.0, 39, 64), *note(-2.0, -1.0, 39, 64)), 0.1 * np.ones(RATE, np.float32)),
    ],
    ids=["no notes", "silence", "next to silence", "too short", "outside"],
)
def test_nothing_to_fit_is_one_line(events, audio):
    with pytest.raises(UserError, match=NO_NOTES) as error:
        fit_piano([Take(audio, events, RATE)], CONFIG)
    assert "\n" not in str(error.value)


def test_notes_that_outlast_the_recording_are_measured_as_far_as_they_go():
    rows = [*note(0.1, 9.0, 39, 64), (int(0.2 * RATE), CONTROL, SUSTAIN, 127)]
    events = events_of(*rows)
    audio = play_whole(true_piano(), events, RATE, 128, RATE + 50)
    fitted = fit_piano([Take(audio, events, RATE)], replace(CONFIG, jitter=3e-4))
    assert fitted.jitter == 3e-4
    truth = true_modes(39)
    frequency, _, amplitude = strongest(fitted, 39, truth[0][0])
    assert frequency == pytest.approx(truth[0][0], abs=0.2)
    assert abs(amplitude) == pytest.approx(0.05, rel=0.05)


def test_soundings_by_hand():
    events = events_of(
        (-5, NOTE_ON, 30, 9),
        (100, NOTE_ON, 60, 64),
        (200, CONTROL, SUSTAIN, 127),
        (300, NOTE_OFF, 60, 0),
        (400, NOTE_ON, 60, 80),
        (450, NOTE_ON, 64, 90),
        (500, NOTE_OFF, 60, 0),
        (700, CONTROL, SUSTAIN, 0),
        (2000, NOTE_OFF, 64, 0),
        (2001, NOTE_ON, 64, 1),
    )
    assert soundings(events, 1000).tolist() == [
        (39, 64, 100, 700, 400),
        (39, 80, 400, 700, 700),
        (43, 90, 450, 1000, 1000),
    ]


def test_sounding_map_holds_the_tail():
    notes = soundings(events_of((1000, NOTE_ON, 60, 64), (2000, NOTE_OFF, 60, 0)), 20000)
    sounds = sounding_map(notes, 20000, RATE)
    assert np.flatnonzero(sounds.any(axis=1)).tolist() == [39]
    assert np.flatnonzero(sounds[39]).tolist() == list(range(1000 // 128, (2000 + 4800) // 128 + 1))


def test_strings_and_temperament():
    np.testing.assert_allclose(
        equal_tempered(np.array([0, 39, 48, 87])), [27.5, 261.6256, 440, 4186.009], rtol=1e-6
    )
    np.testing.assert_allclose(
        string_partials(100.0, 0.01, 3), [100 * 1.01**0.5, 200 * 1.04**0.5, 300 * 1.09**0.5]
    )


def test_a_followed_partial_has_its_amplitude_and_phase_wherever_nothing_is_in_the_way():
    t = np.arange(RATE) / RATE
    onset = 1234
    audio = (0.2 * np.cos(2 * np.pi * 700 * (t - onset / RATE) + 0.6)).astype(np.float32)
    events = events_of((onset, NOTE_ON, 60, 77), (12000, NOTE_ON, 72, 64), (20000, NOTE_OFF, 60, 0))
    notes = soundings(events, RATE)
    conflicts = np.zeros((2, 88), dtype=bool)
    conflicts[1, 51] = True  # of the second partial with key 51
    track = follow(
        Take(audio, events, RATE),
        notes[0],
        np.array([700.0, 700.0]),
        conflicts,
        sounding_map(notes, RATE, RATE),
        1000,
    )
    size = window_length(39, RATE)
    assert track.velocity == 77
    assert len(track.values) == (20000 - onset - size) // (size // 4) + 1
    np.testing.assert_allclose(track.values[:, 0], 0.2 * np.exp(0.6j), atol=1e-5)
    starts = onset + size // 4 * np.arange(len(track.values))
    before = starts + size < 12000 // 128 * 128
    np.testing.assert_array_equal(np.isfinite(track.values[:, 1]), before)


def test_conflicts_are_partials_within_the_main_lobe():
    mine = np.array([261.6, 523.2])
    reach = 2 * RATE / window_length(39, RATE)
    others = [np.zeros(0)] * 88
    others[39] = mine
    others[10] = np.array([523.2 - 0.99 * reach])
    others[11] = np.array([20.0, 261.6 + 1.01 * reach])
    others[12] = np.array([261.0, 524.0])
    found = find_conflicts(39, mine, others, RATE)
    assert np.argwhere(found).tolist() == [[0, 12], [1, 10], [1, 12]]


def test_what_no_damper_ends_dies_away(piano):
    decay, release = np.full(len(piano.key), 0.05), np.zeros(88)
    release[:60], release[60] = 15.0, 0.4
    found = dying(replace(piano, decay=decay, release=release))
    np.testing.assert_allclose(found.decay[piano.key < 60], 0.05)  # its damper does
    np.testing.assert_allclose(found.decay[piano.key == 60], UNDAMPED - 0.4)
    np.testing.assert_allclose(found.decay[piano.key > 60], UNDAMPED)
    fast = replace(piano, decay=decay + 3, release=release)
    np.testing.assert_array_equal(dying(fast).decay, fast.decay)
