import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from diffsynth.datasets.composer.expression import Manner, Stroke, perform, separate
from diffsynth.datasets.composer.generator import every_key, generate
from diffsynth.datasets.composer.score import PIECES, key_number, parse_score, play, read_piece
from diffsynth.datasets.composer.textures import DENSE, TEXTURES, Harmony, within
from diffsynth.midi.events import CONTROL, NOTE, NOTE_OFF, NOTE_ON, SOSTENUTO, SUSTAIN, UNA_CORDA, to_notes

seeds = st.integers(0, 2**32 - 1)


def sounding_at_once(notes):
    return max(int(((notes["onset"] <= t) & (notes["offset"] > t)).sum()) for t in notes["onset"])


# generate


def test_the_same_seed_gives_the_same_performance_and_another_seed_another():
    assert np.array_equal(generate(5, 20), generate(5, 20))
    assert not np.array_equal(generate(5, 20), generate(6, 20))


@settings(deadline=None, max_examples=30)
@given(seeds, st.floats(5, 40))
@example(152595, 5.0)  # its first passage has rests before its first note
def test_a_performance_stays_within_its_time_its_velocities_and_the_keyboard(seed, seconds):
    events = generate(seed, seconds)
    onsets = events[events["kind"] == NOTE_ON]
    assert 0 <= events["time"].min() <= 1
    assert seconds - 12 < events["time"].max() <= seconds
    assert onsets["value"].min() >= 15
    assert onsets["value"].max() <= 120
    assert onsets["number"].min() >= 21
    assert onsets["number"].max() <= 108
    assert np.all(np.diff(events["time"]) >= 0)


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_every_key_is_released_before_it_is_played_again_and_no_pedal_stays_down(seed):
    down, pedals = set(), {}
    for _, kind, number, value in generate(seed, 30).tolist():
        if kind == NOTE_ON:
            assert number not in down
            down.add(number)
        elif kind == NOTE_OFF:
            down.remove(number)
        else:
            pedals[number] = value
    assert not down
    assert set(pedals.values()) <= {0}


def test_a_longer_performance_uses_every_pedal_and_a_wide_range():
    events = generate(0, 300)
    notes = to_notes(events)
    assert {SUSTAIN, SOSTENUTO, UNA_CORDA} == set(events[events["kind"] == CONTROL]["number"].tolist())
    assert len(set(notes["key"].tolist())) > 75
    assert notes["velocity"].std() > 15
    assert 4 < len(notes) / 300 < 15


def test_dense_music_reaches_ten_simultaneous_keys():
    assert sounding_at_once(to_notes(generate(21, 22, DENSE))) >= 10


# sampler


def test_the_sampler_plays_every_key_alone_at_three_levels_with_all_velocities():
    notes = to_notes(every_key(3))
    assert len(notes) == 3 * 88
    assert np.all(notes["onset"][1:] - notes["offset"][:-1] > 0.13)
    assert set(notes["velocity"].tolist()) == set(range(15, 121))
    for key in range(21, 109):
        of_key = notes[notes["key"] == key]
        assert np.array_equal(np.digitize(np.sort(of_key["velocity"]), [50, 85]), [0, 1, 2])
    held = notes["offset"] - notes["onset"]
    longest = {key: held[notes["key"] == key].max() for key in range(21, 109)}
    assert longest[21] == pytest.approx(2.6)
    assert longest[57] == pytest.approx(2.1)
    assert longest[108] == pytest.approx(0.7)
    assert 280 < notes["offset"].max() < 320


def test_the_long_note_of_a_key_is_soft_medium_and_loud_equally_often():
    notes = to_notes(every_key(0))
    held = notes["offset"] - notes["onset"]
    levels = [
        int(np.digitize(of_key["velocity"][np.argmax(held[notes["key"] == key])], [50, 85]))
        for key in range(21, 109)
        for of_key in [notes[notes["key"] == key]]
    ]
    assert min(np.bincount(levels, minlength=3)) >= 28


# textures


@pytest.mark.parametrize("texture", TEXTURES)
@settings(deadline=None, max_examples=25)
@given(seed=seeds, beats=st.floats(2, 20))
def test_textures_stay_on_the_keyboard_and_begin_within_their_length(texture, seed, beats):
    rng = np.random.default_rng(seed)
    strokes = texture(rng, Harmony.draw(rng), beats)
    assert strokes
    for stroke in strokes:
        assert 21 <= stroke.key <= 108
        assert 0 <= stroke.beat < beats + 0.5  # a rolled chord ends a little later
        assert stroke.length > 0


def test_within_lists_the_keys_of_pitch_classes():
    assert within((0, 4, 7), 60, 72) == [60, 64, 67, 72]
    assert within((9,), 0, 33) == [21, 33]


def test_a_harmony_changes_its_chord_with_its_rhythm():
    harmony = Harmony((0, 2, 4), [(0, 4, 7), (2, 5, 9)], 2.0)
    assert [harmony.chord(beat) for beat in (0, 1.5, 2, 3.9, 4)] == [
        (0, 4, 7),
        (0, 4, 7),
        (2, 5, 9),
        (2, 5, 9),
        (0, 4, 7),
    ]


# expression

STRICT = Manner(tempo=120, loudness=60, swell=0, breath=0, rubato=0, ritardando=0, looseness=0)


def test_without_freedom_beats_become_seconds_exactly():
    strokes = [Stroke(beat, 0.5, 60 + beat, accent=20.0) for beat in range(8)]
    notes = to_notes(perform(np.random.default_rng(0), strokes, STRICT, start=1.0))
    np.testing.assert_allclose(notes["onset"], 1 + np.arange(8) / 2, atol=1e-9)
    # Touch shortens to 0.9..1.05 of 95 % of the written quarter second.
    held = notes["offset"] - notes["onset"]
    assert np.all((held > 0.213) & (held < 0.25))
    assert abs(notes["velocity"].mean() - 80) < 4


def test_a_ritardando_makes_the_last_beats_longer():
    strokes = [Stroke(beat, 1, 60) for beat in range(16)]
    manner = Manner(tempo=60, loudness=60, rubato=0, ritardando=0.5, looseness=0)
    gaps = np.diff(to_notes(perform(np.random.default_rng(0), strokes, manner))["onset"])
    np.testing.assert_allclose(gaps[:11], 1.0, atol=1e-9)
    assert np.all(np.diff(gaps[11:]) > 0)


def test_the_sustain_pedal_is_changed_at_every_harmony_and_lifted_at_the_end():
    strokes = [Stroke(beat, 1, 60) for beat in range(9)]
    manner = Manner(**{**STRICT.__dict__, "pedal": 4.0, "upbeat": 1.0})
    events = perform(np.random.default_rng(0), strokes, manner)
    pedal = events[events["kind"] == CONTROL]
    assert np.all(pedal["number"] == SUSTAIN)
    assert (pedal["value"] >= 64).tolist() == [False, True, False, True, False]
    np.testing.assert_allclose(pedal["time"][[0, 2]], [0.5, 2.5], atol=1e-9)
    assert pedal["time"][4] > 4.5


def test_separate_ends_a_note_before_its_key_is_struck_again():
    notes = np.array([(0.0, 2.0, 60, 50), (1.0, 1.5, 60, 60), (1.01, 3.0, 60, 70), (0.5, 5.0, 62, 80)], NOTE)
    result = separate(notes, gap=0.02)
    assert result.tolist() == [(0.0, 0.98, 60, 50), (0.5, 5.0, 62, 80), (1.0, 1.5, 60, 60)]


# scores


@pytest.mark.parametrize(
    ("name", "key"), [("C4", 60), ("A0", 21), ("C8", 108), ("F#5", 78), ("Bb3", 58), ("A4", 69)]
)
def test_note_names(name, key):
    assert key_number(name) == key


HEAD = "title: T\ntempo: 60\nmeter: 2\nloudness: 50\n"


def test_the_notation_has_chords_rests_lengths_repeats_and_ties():
    score = parse_score(
        HEAD + "[upper 5]\n{C4+E4:1/2 - C4:1 |}*2 G4 A4~ | A4:1/2 B4:3/2 |\n[lower -5]\n{C3:2|}*4\n"
    )
    upper = [s[:3] for s in score.strokes if s.accent == 5]
    lower = [s[:3] for s in score.strokes if s.accent == -5]
    assert upper == [
        (0, 0.5, 60),
        (0, 0.5, 64),
        (1, 1, 60),
        (2, 0.5, 60),
        (2, 0.5, 64),
        (3, 1, 60),
        (4, 1, 67),
        (5, 1.5, 69),
        (6.5, 1.5, 71),
    ]
    assert lower == [(0, 2, 48), (2, 2, 48), (4, 2, 48), (6, 2, 48)]


@pytest.mark.parametrize(
    ("voice", "message"),
    [
        ("C4:1 D4 E4 |", "bar 1: ends at beat 3, not 2"),
        ("C4:1 D4 | H4 C4 |", "'H4' is no note"),
        ("C4:1 D4~ | E4 E4 |", r"\[62\] tied to nothing"),
    ],
)
def test_a_mistyped_score_is_refused(voice, message):
    with pytest.raises(ValueError, match=message):
        parse_score(f"{HEAD}[v 0]\n{voice}\n")


# Beats in all, the first keys, and the lowest and highest key, read off the printed scores.
FACTS = {
    "bach_prelude_c": (76, [60, 64, 67, 72, 76, 67, 72, 76], 43, 81),
    "beethoven_fuer_elise": (45.5, [76, 75, 76, 75, 76, 71, 74, 72], 40, 88),
    "chopin_prelude_4": (53, [59, 71], 47, 74),
    "chopin_prelude_7": (48, [64], 33, 85),
    "satie_gymnopedie_1": (36, [43], 38, 81),
}


@pytest.mark.parametrize("piece", PIECES)
def test_the_pieces_hold_what_is_printed(piece):
    beats, first, lowest, highest = FACTS[piece]
    strokes = read_piece(piece).strokes
    keys = [stroke.key for stroke in strokes]
    assert keys[: len(first)] == first
    assert (min(keys), max(keys)) == (lowest, highest)
    assert strokes[-1].beat < beats
    assert max(stroke.beat + stroke.length for stroke in strokes) in (beats, beats - 1)


@pytest.mark.parametrize("piece", PIECES)
def test_a_piece_is_played_in_order_with_the_melody_louder(piece):
    score = read_piece(piece)
    notes = to_notes(play(score, seed=1))
    assert 0.95 * len(score.strokes) <= len(notes) <= len(score.strokes)
    written = max(stroke.beat + stroke.length for stroke in score.strokes) * 60 / score.tempo
    assert written < notes["offset"].max() < 1.2 * written + 0.5  # slower by rubato, never half or double
    top = max(stroke.accent for stroke in score.strokes)
    melody = {stroke.key for stroke in score.strokes if stroke.accent == top}
    rest = {stroke.key for stroke in score.strokes if stroke.accent < 0} - melody
    if rest:
        loud = np.isin(notes["key"], sorted(melody))
        quiet = np.isin(notes["key"], sorted(rest))
        assert notes["velocity"][loud].mean() > notes["velocity"][quiet].mean() + 5
    assert np.array_equal(play(score, seed=1), play(score, seed=1))
    assert not np.array_equal(play(score, seed=1), play(score, seed=2))
