"""What a piano is fitted to: all of a short corpus, a choice from a long one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffsynth.audio.files import write_audio
from diffsynth.errors import UserError
from diffsynth.fitting.excerpts import Stretch, choose, cut_stretch, read_takes
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events, to_samples
from diffsynth.midi.strikes import GRID
from diffsynth.runs.files import write_json

RATE = 24000


def test_recordings_of_a_split_are_read(tmp_path):
    write_audio(tmp_path / "a.flac", np.linspace(-0.5, 0.5, 480, dtype=np.float32), RATE)
    np.save(tmp_path / "a.npy", make_events([(0.01, NOTE_ON, 60, 64)]))
    rows = [("a", "train", "ok"), ("b", "train", "rejected"), ("c", "test", "ok")]
    performances = [{"name": n, "split": s, "status": t} for n, s, t in rows]
    write_json(tmp_path / "index.json", {"performances": performances})
    (found,) = read_takes(tmp_path)
    assert found.rate == RATE
    assert found.events.tolist() == [(240, NOTE_ON, 60, 64)]
    np.testing.assert_allclose(found.audio, np.linspace(-0.5, 0.5, 480), atol=1e-4)
    with pytest.raises(UserError, match="holds no performance of the validation split"):
        read_takes(tmp_path, split="validation")


SLOW = 1000  # Hz, so that minutes are small


def long_events():
    """Three minutes of two keys that overlap at all times but from 62.6 to 64.5 s and from 114.6 to 117 s."""
    rows = [(1.0, CONTROL, SUSTAIN, 0)]
    for time in np.arange(0.5, 178.0, 0.5):
        if not (62.5 <= time < 64.5 or 114.5 <= time < 117.0):
            rows += [(time, NOTE_ON, 60, 64), (time + 0.45, NOTE_OFF, 60, 0)]
            rows += [(time + 0.2, NOTE_ON, 64, 64), (time + 0.6, NOTE_OFF, 64, 0)]
    rows += [(170.0, NOTE_ON, 100, 64), (170.2, NOTE_OFF, 100, 0), (62.0, CONTROL, SUSTAIN, 30)]
    return make_events(sorted(rows))


def stretch(length, **strikes):
    counts = np.zeros(88)
    for key, count in strikes.items():
        counts[int(key[1:])] = count
    return Stretch(Path(), np.zeros(0), 0, length, counts, np.zeros(88))


def test_cuts_lie_where_nothing_sounds():
    events = to_samples(long_events(), SLOW)
    first, second, third = cut_stretch(
        Stretch(Path(), events, 0, 180 * SLOW, np.zeros(88), np.zeros(88)), SLOW
    )
    assert (first.begin, third.end) == (0, 180 * SLOW)
    assert first.end == second.begin
    assert second.end == third.begin
    assert 62.8 < first.end / SLOW < 64.5  # 0.2 s after the last release
    assert 114.8 < second.end / SLOW < 117.0
    assert [part.begin % GRID for part in (second, third)] == [0, 0]
    onsets = events["position"][events["kind"] == NOTE_ON]
    for part in (first, second):
        inside = (onsets >= part.begin) & (onsets < part.end)
        # Two keys sound at all times, except for the first strike's two steps of 128 ms.
        assert part.strikes.sum() == 1 + (inside.sum() - 1) / 4
        assert (part.events["position"] >= 0).all()
    assert third.strikes[79] == pytest.approx(1 / 9)


def test_a_strike_counts_the_less_the_more_keys_sound_with_it(tmp_path):
    rows = [(0.5, NOTE_ON, 60, 64), (1.0, NOTE_OFF, 60, 0)]  # alone
    rows += [(2.0, NOTE_ON, key, 64) for key in (50, 54, 57)]  # a chord
    rows += [(2.5, NOTE_OFF, key, 0) for key in (50, 54, 57)]
    rows += [(4.0, NOTE_ON, 40, 64), (5.0, NOTE_ON, 80, 64)]  # one while another rings, which began alone
    rows += [(6.0, NOTE_OFF, 40, 0), (6.0, NOTE_OFF, 80, 0)]
    events = to_samples(make_events(rows), RATE)
    (whole,) = cut_stretch(Stretch(Path(), events, 0, 7 * RATE, np.zeros(88), np.zeros(88)), RATE)
    worth = {key + 21: whole.strikes[key] for key in np.flatnonzero(whole.strikes).tolist()}
    assert worth == pytest.approx({60: 1, 50: 1 / 9, 54: 1 / 9, 57: 1 / 9, 40: 1, 80: 1 / 4})


def test_a_stretch_starts_with_the_pedals_where_they_were():
    events = to_samples(long_events(), SLOW)
    _, second, third = cut_stretch(Stretch(Path(), events, 0, 180 * SLOW, np.zeros(88), np.zeros(88)), SLOW)
    assert second.events[0].tolist() == third.events[0].tolist() == (0, CONTROL, SUSTAIN, 30)
    assert second.events[1]["kind"] == NOTE_ON
    assert second.events[1]["position"] == round(64.5 * SLOW) - second.begin


def test_stretches_that_add_most_are_chosen_in_their_order():
    common, rare = stretch(100, k40=70), stretch(100, k40=33, k2=10)
    again, other = stretch(100, k40=70), stretch(50, k70=13)
    # rare adds 43 in 100 samples, common and again 40; then other, 13 in 50; then 7 are lacking of key 40.
    assert choose([common, rare, again, other], 400) == [common, rare, other]
    assert choose([common, rare, again, other], 150) == [rare, other]
    assert choose([common, rare, again, other], 100) == [rare]
    assert choose([common, rare], 10) == [rare]
    assert choose([stretch(10)], 5)[0].end == 10


def test_a_long_corpus_is_read_in_part(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 180 * SLOW).astype(np.float32)
    write_audio(tmp_path / "a.flac", samples, SLOW)
    np.save(tmp_path / "a.npy", long_events())
    write_json(tmp_path / "index.json", {"performances": [{"name": "a", "split": "train", "status": "ok"}]})
    (whole,) = read_takes(tmp_path, 3.0)
    assert len(whole.audio) == 180 * SLOW
    parts = read_takes(tmp_path, 2.2)
    assert 60 * SLOW < sum(len(part.audio) for part in parts) <= 132 * SLOW
    stretches = cut_stretch(Stretch(Path(), whole.events, 0, 180 * SLOW, np.zeros(88), np.zeros(88)), SLOW)
    for part in parts:
        (like,) = (s for s in stretches if np.array_equal(s.events, part.events))
        np.testing.assert_array_equal(part.audio, whole.audio[like.begin : like.end])


def test_the_longest_that_a_key_is_heard_by_itself_counts_as_many_strikes():
    rows = [(0.5, NOTE_ON, 60, 64), (3.5, NOTE_OFF, 60, 0)]  # by itself, but for a second
    rows += [(1.5, NOTE_ON, 50, 64), (2.3, NOTE_OFF, 50, 0)]
    rows += [(4.0, NOTE_ON, 60, 64), (4.5, NOTE_OFF, 60, 0)]
    events = to_samples(make_events(sorted(rows)), RATE)
    (whole,) = cut_stretch(Stretch(Path(), events, 0, 7 * RATE, np.zeros(88), np.zeros(88)), RATE)
    alone = {key + 21: whole.alone[key] for key in np.flatnonzero(whole.alone).tolist()}
    assert alone == pytest.approx({60: 2.0}, abs=0.02)

    busy, lonely = stretch(100, k40=15), stretch(100, k40=1)
    assert choose([busy, lonely], 100) == [busy]
    lonely = replace(lonely, alone=np.eye(88)[40] * 5.0)
    assert choose([busy, lonely], 100) == [lonely]  # 20 strikes' worth
    busy = replace(busy, alone=np.eye(88)[40] * 4.0)
    assert choose([busy, lonely], 100) == [busy]  # 15 and 16 now
