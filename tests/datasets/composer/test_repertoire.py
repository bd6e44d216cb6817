from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playing_coverage import collect

from diffsynth.datasets.composer.corpus import generated_jobs
from diffsynth.datasets.composer.generator import every_key
from diffsynth.datasets.composer.passagework import FULL
from diffsynth.datasets.composer.pedalling import Foot, moved, press, trace
from diffsynth.datasets.composer.repertoire import FASTEST, improvise, interpret
from diffsynth.datasets.composer.score import HELD_BACK, PIECES, read_piece
from diffsynth.datasets.composer.textures import Harmony
from diffsynth.datasets.soundfont import snap
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, PEDALS, SOSTENUTO, SUSTAIN, UNA_CORDA, to_notes
from diffsynth.midi.files import read_midi, write_midi

seeds = st.integers(0, 2**32 - 1)


# music


def test_the_same_seed_gives_the_same_music_and_another_seed_another():
    assert np.array_equal(improvise(5, 20), improvise(5, 20))
    assert not np.array_equal(improvise(5, 20), improvise(6, 20))


@settings(deadline=None, max_examples=40)
@given(seeds, st.floats(8, 60))
def test_music_stays_within_its_time_and_the_keyboard_and_lets_everything_go(seed, seconds):
    events = improvise(seed, seconds)
    assert events["time"].min() >= 0
    assert events["time"].max() <= seconds
    assert np.all(np.diff(events["time"]) >= 0)
    down, pedals = set(), {}
    for _, kind, number, value in events.tolist():
        if kind == NOTE_ON:
            assert number not in down
            assert 21 <= number <= 108
            assert 1 <= value <= 127
            down.add(number)
        elif kind == NOTE_OFF:
            down.remove(number)
        else:
            pedals[number] = value
    assert not down
    assert set(pedals.values()) <= {0}
    assert len(to_notes(events)) < FASTEST * seconds


def test_music_goes_where_real_playing_goes():
    of_windows, single = collect([improvise(seed, 60) for seed in range(60)], 4.0)
    assert set(single["single_velocity"].tolist()) > set(range(1, 121))
    assert set(single["single_key"].tolist()) == set(range(21, 109))
    assert set(single["pedal_value"].tolist()) == set(range(128))
    assert of_windows["onset_rate"].max() > 35
    assert of_windows["sounding"].max() > 30
    assert of_windows["silence"].max() > 8
    assert single["pedal_hold"].max() > 15
    assert single["repetition"].min() < 0.07
    softest = of_windows["velocity_loudest"] < 20  # whole windows in a whisper
    assert softest.sum() > 3


ROLL = 9 * 0.06  # beats that a rolled chord of ten keys, the longest, takes


@pytest.mark.parametrize("texture", dict.fromkeys(FULL))
@settings(deadline=None, max_examples=25)
@given(seed=seeds, beats=st.floats(2, 20))
def test_textures_stay_on_the_keyboard_and_begin_within_their_length(texture, seed, beats):
    rng = np.random.default_rng(seed)
    strokes = texture(rng, Harmony.draw(rng), beats)
    assert strokes
    for stroke in strokes:
        assert 21 <= stroke.key <= 108
        assert 0 <= stroke.beat < beats + ROLL
        assert stroke.length > 0


def test_pedal_positions_survive_being_written(tmp_path):
    for seed in range(6):
        events = snap(improvise(seed, 30))
        write_midi(tmp_path / "a.mid", events, 480, 93.75)
        written = read_midi(tmp_path / "a.mid")
        for pedal in PEDALS:
            before, after = (e[(e["kind"] == CONTROL) & (e["number"] == pedal)] for e in (events, written))
            assert before["value"].tolist() == after["value"].tolist()


# scores


@pytest.mark.parametrize("piece", PIECES)
def test_a_piece_is_interpreted_within_the_keyboard_and_differently_each_time(piece):
    score = read_piece(piece)
    first, second = (interpret(score, seed) for seed in (1, 2))
    assert np.array_equal(first, interpret(score, 1))
    assert len(first) != len(second) or not np.array_equal(first, second)
    notes = to_notes(first)
    assert 0.9 * len(score.strokes) <= len(notes) <= 1.1 * len(score.strokes)
    assert abs(int(notes["key"].min()) - min(stroke.key for stroke in score.strokes)) <= 7


# the foot


def test_a_movement_starts_and_ends_at_rest_and_is_half_way_in_the_middle():
    times = np.array([0.0, 0.025, 0.05, 0.1, 9.0])
    np.testing.assert_allclose(moved(times, 20.0, 100.0, 0.1), [20, 20 + 80 * 0.15625, 60, 100, 100])


def test_a_pedal_is_traced_every_20_ms():
    rng = np.random.default_rng(0)
    events = trace(rng, [(1.0, 100.0), (2.0, 0.0)], 0.04, 0.0, SUSTAIN)
    assert events["value"].tolist() == [0, 50, 100, 50, 0]
    np.testing.assert_allclose(events["time"], [1.0, 1.02, 1.04, 2.02, 2.04])


def test_a_movement_cut_short_goes_on_from_where_it_was():
    events = trace(np.random.default_rng(0), [(0.0, 120.0), (0.04, 0.0)], 0.08, 0.0, SUSTAIN)
    np.testing.assert_array_equal(events["value"], [0, 19, 60, 51, 30, 9, 0])


def held(foot, changes, end):
    """Times when the sustain pedal crosses 64, down and up."""
    events = press(np.random.default_rng(3), foot, np.array(changes), 0.0, end)
    down = events["value"][events["number"] == SUSTAIN] >= 64
    times = events["time"][events["number"] == SUSTAIN]
    return times[1:][np.diff(down.astype(int)) != 0]


def test_legato_pedalling_is_up_at_a_change_and_down_after_it():
    crossings = held(Foot("legato"), [0.0, 2.0, 4.0], 6.0)
    assert len(crossings) == 6
    for change, up, down in ((2.0, crossings[1], crossings[2]), (4.0, crossings[3], crossings[4])):
        assert -0.03 < up - change < 0.16
        assert 0.03 < down - up < 0.4
    assert 6.0 < crossings[5] < 6.1


def test_rhythmic_pedalling_is_down_at_a_change_and_up_before_the_next():
    crossings = held(Foot("rhythmic"), [0.0, 2.0], 4.0)
    assert len(crossings) == 4
    assert 0 < crossings[0] < 0.2
    assert 0.6 < crossings[1] < 2.0 < crossings[2] < 2.2


def test_other_habits_and_pedals():
    assert len(held(Foot("held"), [0.0, 1.0], 9.0)) == 2
    assert len(held(Foot("flutter"), [], 6.0)) > 8
    rng = np.random.default_rng(0)
    assert len(press(rng, Foot("off"), np.array([1.0]), 0.0, 3.0)) == 0
    events = press(rng, Foot("off", una_corda=70, sostenuto=True), np.zeros(0), 0.0, 3.0)
    assert set(events["number"].tolist()) == {UNA_CORDA, SOSTENUTO}
    assert events["value"][events["number"] == UNA_CORDA].max() == 70
    rests = press(rng, Foot("off", rest=30.0), np.zeros(0), 0.0, 3.0)
    assert rests["value"].max() == 30


# the corpus


def jobs_of(minutes, validation=0.1, test=0.1, seed=0):
    return generated_jobs(minutes, validation, test, seed)


def test_a_corpus_holds_music_scores_and_single_keys_in_their_splits():
    jobs = jobs_of(130)
    minutes, splits = Counter(), {}
    for job in jobs:
        kind = next((piece for piece in PIECES if job.name.startswith(piece)), job.name.split("_")[0])
        minutes[kind] += (float(job.events["time"][-1]) + 2) / 60
        splits.setdefault(kind, set()).add(job.split)
    assert 130 < sum(minutes.values()) + 0.5 < 136
    assert minutes["music"] > 0.7 * 130
    assert 18 < minutes["keys"] < 22  # three recordings, one of them of keys held long
    assert splits["keys"] == {"train"}
    assert splits["music"] == {"train", "validation", "test"}
    for piece in PIECES:
        assert splits[piece] == {HELD_BACK.get(piece, "train")}
    assert len({job.name for job in jobs}) == len(jobs)


def test_another_seed_gives_another_corpus_and_the_same_seed_the_same():
    first, again, other = jobs_of(14), jobs_of(14), jobs_of(14, seed=1)
    for a, b, c in zip(first, again, other, strict=False):
        assert np.array_equal(a.events, b.events)
        assert a.events.tobytes() != c.events.tobytes()


def test_single_keys_can_be_held_long_or_played_at_all_velocities():
    notes = to_notes(every_key(1, ((40, 127),), 2.0))
    assert len(notes) == 88
    assert set(notes["velocity"].tolist()) == set(range(40, 128))
    held = dict(zip(notes["key"].tolist(), (notes["offset"] - notes["onset"]).tolist(), strict=True))
    assert held[21] == pytest.approx(5.2)
    assert held[108] == pytest.approx(1.4)
    assert min(held.values()) == pytest.approx(1.4)
    every = to_notes(every_key(2, ((1, 42), (43, 84), (85, 127))))
    assert set(every["velocity"].tolist()) == set(range(1, 128))
