"""Keys that are hardly ever struck."""

import numpy as np
import pytest

from diffsynth.fitting.rare_keys import fill_unheard
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import KEYS, NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.midi.pitches import equal_tempered
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole

RATE = 24000
LOW, HIGH, NEVER = 39, 45, 41  # the last is nearer to the first
PITCH = {key: 1.002 * float(equal_tempered(key)) for key in (LOW, HIGH)}


def piano(never=1.004):
    """Two modes for a key, and for two of them a knock; key 41 is 7 cents sharper than its neighbours."""
    modes = [
        (LOW, PITCH[LOW], 2.0, 0.1),
        (LOW, 2.01 * PITCH[LOW], 3.0, 0.05j),
        (LOW, 180.0, 300.0, 0.02),
        (NEVER, never * float(equal_tempered(NEVER)), 1.0, 0.7),
        (HIGH, PITCH[HIGH], 2.5, 0.3),
        (HIGH, 250.0, 400.0, 0.03),
    ]
    key, frequency, decay, amplitude = (np.array(column) for column in zip(*modes, strict=True))
    return Piano(key.astype(int), frequency, decay, amplitude, np.full(KEYS, 20.0), np.full(KEYS, 2.0))


def recording(*keys, rare=(), sound=None):
    """Keys struck four times each, rare ones once, sounding like the piano given."""
    rows = [(0.1 + i, NOTE_ON, key + 21, 64) for key in keys for i in range(4)]
    rows += [(0.5 + i, NOTE_OFF, key + 21, 0) for key in keys for i in range(4)]
    rows += [row for key in rare for row in ((4.2, NOTE_ON, key + 21, 64), (4.8, NOTE_OFF, key + 21, 0))]
    events = to_samples(make_events(rows), RATE)
    audio = np.zeros(5 * RATE, np.float32)
    return Take(audio if sound is None else play_whole(sound, events, RATE, 128, 5 * RATE), events, RATE)


@pytest.mark.parametrize(
    ("never", "pitch"), [(1.004, 1.004), (2.0, 1.002)], ids=["its own pitch", "a pitch that cannot be"]
)
def test_a_key_never_struck_takes_the_sound_of_the_nearest(never, pitch):
    filled = fill_unheard(piano(never), [recording(LOW, HIGH)], 10500.0)
    assert filled.key.tolist() == [LOW] * 3 + [NEVER] * 3 + [HIGH] * 2
    expected = pitch * float(equal_tempered(NEVER)) * np.array([1, 2.01])
    np.testing.assert_allclose(filled.frequency[3:6], [*expected, 180.0])
    assert filled.decay[3:6].tolist() == [2.0, 3.0, 300.0]
    assert filled.amplitude[3:6].tolist() == [0.1, 0.05j, 0.02]
    for name in ("frequency", "decay", "amplitude"):
        np.testing.assert_array_equal(
            getattr(filled, name)[[0, 1, 2, 6, 7]], getattr(piano(), name)[[0, 1, 2, 4, 5]]
        )


def test_no_mode_goes_beyond_the_highest_frequency():
    filled = fill_unheard(piano(), [recording(LOW, HIGH)], 500.0)
    assert filled.frequency[filled.key == NEVER].max() < 500.0
    assert (filled.key == LOW).sum() == 3


def test_a_rare_key_keeps_what_explains_it_better():
    start = piano()
    taken = fill_unheard(start, [recording(LOW, HIGH)], 10500.0)
    for truth in (start, taken):
        found = fill_unheard(start, [recording(LOW, HIGH, rare=(NEVER,), sound=truth)], 10500.0)
        np.testing.assert_array_equal(found.frequency, truth.frequency)
        np.testing.assert_array_equal(found.amplitude, truth.amplitude)


def test_what_is_struck_often_stays_and_so_does_all_where_nothing_is():
    for keys in ((LOW, NEVER, HIGH), ()):
        filled = fill_unheard(piano(), [recording(*keys)], 10500.0)
        np.testing.assert_array_equal(filled.frequency, piano().frequency)
        np.testing.assert_array_equal(filled.amplitude, piano().amplitude)
