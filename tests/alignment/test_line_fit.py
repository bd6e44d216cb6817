"""The demo was made with labels exact to the sample, so whatever is imposed on it must be found again."""

import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
from support.displaced import CONFIG, RATE, displaced, performance

from diffsynth.alignment.line_fit import Alignment, measure
from diffsynth.audio.files import resample
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events


def noisy(audio):
    """White noise 20 dB below the music."""
    noise = np.random.default_rng(0).standard_normal(len(audio))
    return (audio + 0.1 * audio.std() * noise).astype(np.float32)


def reverberant(audio):
    """A room: noise that falls by 60 dB in 0.8 s, as loud as half of the direct sound."""
    rng, time = np.random.default_rng(1), np.arange(RATE) / RATE
    room = rng.standard_normal(RATE) * 10 ** (-3 * time / 0.8) * np.minimum(time / 0.004, 1)
    room *= 0.7 / np.linalg.norm(room)
    room[0] = 1
    return scipy.signal.fftconvolve(audio, room)[: len(audio)].astype(np.float32)


def untouched(audio):
    return audio


@pytest.mark.parametrize("name", ["music_3", "chopin_prelude_4", "dense_39", "satie_gymnopedie_1"])
def test_exact_data_are_found_exact(name):
    events, audio = performance(name)
    found = measure(events, audio, RATE, CONFIG)
    assert found.status == "ok"
    assert abs(found.offset) < 1.5e-3
    assert abs(found.drift) < 3 * max(found.drift_error, 1)
    assert not found.differs(0, float(events["time"][-1]))


def test_an_alignment_does_not_hang_on_the_last_bit():
    events, audio = performance("chopin_prelude_4")
    events, audio = events[events["time"] < 30], audio[: 32 * RATE]
    up = np.random.default_rng(2).random(len(audio)) < 0.5
    first = measure(events, audio, RATE, CONFIG)
    again = measure(events, np.nextafter(audio, np.where(up, 9, -9).astype(audio.dtype)), RATE, CONFIG)
    assert again.status == first.status == "ok"
    assert again.offset == pytest.approx(first.offset, abs=1e-6)
    assert again.drift == pytest.approx(first.drift, abs=0.01)
    assert again.residual_ms == pytest.approx(first.residual_ms, abs=1e-3)
    assert (again.matched, again.confidence) == pytest.approx((first.matched, first.confidence), abs=1e-4)


@pytest.mark.parametrize("change", [untouched, noisy, reverberant])
@pytest.mark.parametrize(
    ("name", "offset", "drift"), [("music_10", 1.7, 90.0), ("bach_prelude_c", -0.4, -100.0)]
)
def test_an_imposed_offset_is_found_within_3_ms_everywhere(name, offset, drift, change):
    events, audio = performance(name)
    moved = displaced(events, offset, drift)
    found = measure(moved, change(audio), RATE, CONFIG)
    assert found.status == "ok", found.reason
    ends = moved["time"][[0, -1]]
    assert found.audio_time(ends) == pytest.approx(events["time"][[0, -1]], abs=5e-3)
    assert found.audio_time(ends).mean() == pytest.approx(events["time"][[0, -1]].mean(), abs=3e-3)
    assert found.differs(*ends)


@pytest.mark.parametrize("drift", [-100.0, 7.0, 100.0])
def test_drift_of_five_minutes_is_found_within_5_ppm(drift):
    events, audio = performance("keys")
    found = measure(displaced(events, 0.8, drift), audio, RATE, CONFIG)
    assert found.status == "ok", found.reason
    assert found.drift == pytest.approx(drift, abs=5)
    assert found.offset == pytest.approx(0.8, abs=3e-3)


def test_a_piano_half_a_semitone_sharp():
    events, audio = performance("music_3")
    # Played faster by half a semitone, with events that keep up.
    factor = 2 ** (0.5 / 12)
    sharp = resample(audio, round(RATE * factor), RATE)
    faster = events.copy()
    faster["time"] /= round(RATE * factor) / RATE
    found = measure(displaced(faster, -1.2, 0), sharp, RATE, CONFIG)
    assert found.status == "ok", found.reason
    assert found.offset == pytest.approx(-1.2, abs=3e-3)


def test_any_sample_rate():
    events, audio = performance("music_12")
    for rate in (16000, 37123):
        found = measure(displaced(events, 0.5, 0), resample(audio, RATE, rate), rate, CONFIG)
        assert found.status == "ok", found.reason
        assert found.audio_time(np.array([14.0]))[0] == pytest.approx(14.5, abs=3e-3)


def test_wrong_pairs_are_rejected_by_what_is_heard():
    names = ["music_3", "music_10", "chopin_prelude_7", "dense_21"]
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        found = measure(performance(other)[0], performance(name)[1], RATE, CONFIG)
        assert found.status == "rejected"
        assert found.matched < 0.4
        assert "of the notes are heard" in found.reason


def test_the_limits_reject():
    events, audio = performance("music_3")

    def reason(offset=0.0, **limits):
        found = measure(displaced(events, offset, 0), audio, RATE, replace(CONFIG, **limits))
        assert (found.status == "ok") == (found.reason == "")
        return found.reason

    assert reason() == ""
    assert "ms off (align.max_residual 0.1)" in reason(max_residual=0.1)
    assert "are heard in the audio (align.min_matched 100%)" in reason(min_matched=1.0)
    assert reason(2.5) == ""
    assert "are heard" in reason(2.5, max_offset=1.0)


def test_the_limit_of_drift_rejects():
    events, audio = performance("keys")
    found = measure(displaced(events, 0, 100), audio, RATE, replace(CONFIG, max_drift=50.0))
    assert found.status == "rejected"
    drift = re.search(r"drift by (\d+) ppm \(align\.max_drift 50\)", found.reason)
    assert int(drift[1]) == pytest.approx(100, abs=2)


@pytest.mark.parametrize("key", [30, 57, 81, 102])
def test_one_note_has_an_offset_and_no_drift(key):
    events, audio = performance("keys")
    on = events[(events["kind"] == NOTE_ON) & (events["number"] == key)][-1]
    begin = round((on["time"] - 0.3) * RATE)
    note = make_events([(2.0, NOTE_ON, key, int(on["value"])), (2.5, NOTE_OFF, key, 0)])
    found = measure(note, audio[begin : begin + RATE], RATE, CONFIG)
    assert found.status == "ok", found.reason
    assert found.drift == found.drift_error == 0
    assert found.offset == pytest.approx(0.3 - 2.0, abs=4e-3)


def test_audio_without_music():
    events, _ = performance("music_3")
    assert measure(events, np.zeros(5 * RATE, np.float32), RATE, CONFIG).reason == "the audio is silent"
    noise = np.random.default_rng(0).standard_normal(30 * RATE).astype(np.float32)
    for audio in (noise, noise[:1], noise[:100], np.ones(RATE, np.float32)):
        assert measure(events, audio, RATE, CONFIG).status == "rejected"


@pytest.mark.parametrize(("begin", "end", "offset"), [(0, 15, 1.2), (0, 41.5, -0.8), (2.5, 32, 0.0)])
def test_a_recording_that_is_an_excerpt_of_its_midi(begin, end, offset):
    events, audio = performance("keys")
    part = audio[round(begin * RATE) : round(end * RATE)]
    found = measure(displaced(events, offset, 0), part, RATE, CONFIG)
    assert found.status == "ok", found.reason
    assert found.audio_time(np.array([20.0]))[0] == pytest.approx(20 + offset - begin, abs=3e-3)
    onsets = events["time"][events["kind"] == NOTE_ON]
    assert found.covered == pytest.approx(np.mean((onsets >= begin) & (onsets < end)), abs=1e-3)
    assert found.matched > 0.7


def test_an_excerpt_of_something_else_is_rejected():
    found = measure(performance("keys")[0], performance("music_3")[1][: 20 * RATE], RATE, CONFIG)
    assert found.status == "rejected"
    assert "of the notes are heard" in found.reason


def test_an_excerpt_of_two_notes_proves_nothing():
    found = measure(performance("keys")[0], performance("keys")[1][:RATE], RATE, CONFIG)
    assert found.status == "rejected"
    assert "the audio is too short" in found.reason


def played_back(events, lag, scatter, wander, drift=0.0):
    """MIDI of a piano that strikes around a lag, by a scatter and a wandering lag (s), and its mean lag."""
    rng = np.random.default_rng(0)
    starts = np.unique(events["time"])
    walk = np.cumsum(rng.standard_normal(len(starts)))
    late = lag + scatter * rng.standard_normal(len(starts)) + wander * walk / abs(walk).max()
    late += drift * 1e-6 * (starts - starts.mean())
    moved = events.copy()
    moved["time"] -= np.interp(events["time"], starts, late)
    return moved[np.argsort(moved["time"], kind="stable")], late.mean()


@pytest.mark.parametrize(("name", "seconds"), [("chopin_prelude_4", 60), ("keys", 90)])
def test_a_lag_that_wanders_is_not_taken_for_a_drift(name, seconds):
    events, audio = performance(name)
    events, audio = events[events["time"] < seconds], audio[: seconds * RATE]
    moved, lag = played_back(events, 0.03, 0.003, 0.006)
    found = measure(moved, audio, RATE, CONFIG)
    assert found.status == "ok", found.reason
    assert found.drift == 0
    assert 0 < abs(found.drift_found) < 3 * found.drift_error
    assert found.offset == pytest.approx(lag, abs=3e-3)  # the middle of such a walk is 2 ms from its mean


def test_a_drift_beyond_all_wandering_is_applied():
    events, audio = performance("keys")
    moved, _ = played_back(events, 0.03, 0.003, 0.001, drift=180)
    found = measure(moved, audio, RATE, CONFIG)
    assert found.status == "ok", found.reason
    assert found.drift == found.drift_found == pytest.approx(180, abs=25)
    assert found.drift_error > 10


def test_no_notes_to_align():
    with pytest.raises(ValueError, match="no notes"):
        measure(make_events([(0.0, NOTE_OFF, 60, 0)]), np.ones(RATE, np.float32), RATE, CONFIG)


def test_a_difference_counts_only_beyond_three_errors():
    def line(offset, drift):
        return Alignment(offset, drift, 1.0, 1.0, 1.0, offset_error=1e-3, drift_error=10.0)

    assert line(0.5, 100).audio_time(np.array([10.0]))[0] == pytest.approx(10.501)
    # Without a drift, three errors are 3 ms.
    assert not line(2.9e-3, 0).differs(0, 100)
    assert line(3.1e-3, 0).differs(0, 100)
    # With one, at the ends of 100 s the error is sqrt(1² + (10e-6 * 50 s)²) = 1.118 ms, three of it 3.354 ms.
    assert not line(0, 33).differs(0, 100)
    assert line(0, 34).differs(0, 100)
