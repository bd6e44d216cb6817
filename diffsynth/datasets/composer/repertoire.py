"""Music to train on: as wide as real playing, from the softest to the loudest.

`improvise` goes beyond `diffsynth.datasets.composer.generator.generate`: more textures, velocities from 1 to
127, uneven chords, keys brushed by accident, gradual pedals, silences. The demo data set was made with
`generate`, which therefore stays as it is; `dataset.name: rendered` uses this module.
"""

import dataclasses

import numpy as np
from numpy.random import Generator

from diffsynth.datasets.composer.expression import Manner, Stroke, perform
from diffsynth.datasets.composer.generator import first_seconds
from diffsynth.datasets.composer.passagework import FULL
from diffsynth.datasets.composer.pedalling import Foot, Habit
from diffsynth.datasets.composer.score import Score
from diffsynth.datasets.composer.textures import Harmony, Texture
from diffsynth.midi.events import CONTROL, HIGHEST_KEY, LOWEST_KEY, PEDALS, Events

FASTEST = 44.0  # notes per second; the densest two seconds of real performances have 42
BRUSHED = -1000.0  # accent of a key brushed by accident: as soft as can be


def improvise(seed: int, seconds: float) -> Events:
    """A performance of passages in every texture, in turn, in manners of all kinds.

    Args:
        seed: the same seed and length give the same performance.
        seconds: every event lies before this time.

    Returns:
        Event stream of notes with velocities 1 to 127 and of the three pedals.
    """
    rng = np.random.default_rng([4, seed])
    temper = rng.normal(0, 8)
    parts: list[Events] = []
    at, bag = _lead(rng), list[int]()
    while at < seconds - 2 or not parts:
        bag = bag or rng.permutation(len(FULL)).tolist()
        at = min(at, seconds - 2)
        parts.append(_passage(rng, FULL[bag.pop()], at, min(seconds - at, rng.uniform(3, 10)), temper))
        at = float(parts[-1]["time"].max()) + _breath(rng)
    return first_seconds(_ended(np.concatenate(parts), seconds), seconds)


def interpret(score: Score, seed: int) -> Events:
    """A performance of a score in a random manner, whatever its marks say, transposed to a near key."""
    rng = np.random.default_rng([5, seed])
    lowest, highest = min(s.key for s in score.strokes), max(s.key for s in score.strokes)
    shift = int(np.clip(rng.integers(-5, 6), LOWEST_KEY - lowest, HIGHEST_KEY - highest))
    strokes = [stroke._replace(key=stroke.key + shift) for stroke in score.strokes]
    tempo = score.tempo * float(np.exp(rng.normal(0, 0.2)))
    manner = draw_manner(rng, tempo, score.pedal or 1.0, score.loudness - 60)
    manner = dataclasses.replace(manner, upbeat=score.upbeat)
    if manner.foot and manner.foot.habit in ("held", "flutter"):  # not for a whole piece
        manner = dataclasses.replace(manner, foot=dataclasses.replace(manner.foot, habit="legato"))
    return perform(rng, brush(rng, strokes), manner, _lead(rng))


def draw_manner(rng: Generator, tempo: float, rhythm: float, temper: float = 0.0) -> Manner:
    """A way to play a passage.

    Args:
        rng: source of everything that varies.
        tempo: beats per minute.
        rhythm: beats for which a harmony lasts.
        temper: velocity by which the whole performance is louder.
    """
    mean, deviation = [(58.0, 18.0), (22.0, 12.0), (100.0, 12.0)][rng.choice(3, p=[0.75, 0.14, 0.11])]
    loudness = rng.normal(mean + temper, deviation)
    away = float(rng.choice([0.02, 0.1, 0.3, 0.5]))
    return Manner(
        tempo=tempo,
        loudness=float(np.clip(loudness, 6, 120)),
        swell=rng.uniform(-25, 25),
        slope=rng.normal(0, 14),
        rubato=rng.choice([0.02, 0.06, 0.15, 0.25]),
        ritardando=rng.uniform(0, 0.5) ** 1.5,
        touch=rng.choice([0.2, 0.35, 0.6, 0.8, 0.97, 1.1, 1.5], p=[0.08, 0.15, 0.15, 0.15, 0.22, 0.15, 0.1]),
        release=(1 - away, 1 + away),
        looseness=float(np.exp(rng.uniform(np.log(0.002), np.log(0.03)))),
        voicing=rng.uniform(0.3, 2.2),
        spread=float(np.exp(rng.uniform(np.log(3), np.log(15)))),
        softest=int(rng.choice([1, 3, 8, 15], p=[0.3, 0.4, 0.2, 0.1])),
        loudest=127,
        pedal=float(
            rng.choice([0.5, rhythm / 2, rhythm, 2 * rhythm, 4 * rhythm], p=[0.1, 0.1, 0.3, 0.25, 0.25])
        ),
        foot=draw_foot(rng),
        ring=float(rng.choice([0.0, rng.uniform(0.1, 0.6), rng.uniform(1, 9)], p=[0.3, 0.6, 0.1])),
    )


def draw_foot(rng: Generator) -> Foot:
    """A way to use the pedals during a passage."""
    habits: tuple[Habit, ...] = ("off", "legato", "rhythmic", "held", "flutter")
    shallow = rng.random() < 0.3  # pressed about to where the dampers rise, and no further
    return Foot(
        habit=habits[rng.choice(5, p=[0.1, 0.53, 0.14, 0.18, 0.05])],
        rest=float(rng.choice([0.0, rng.uniform(1, 62)], p=[0.45, 0.55])),
        depth=(58.0, 90.0) if shallow else (rng.uniform(64, 88), rng.uniform(88, 220)),
        travel=float(np.exp(rng.uniform(np.log(0.03), np.log(0.25)))),
        tremble=float(rng.choice([0.0, 0.7, 2.5], p=[0.35, 0.5, 0.15])),
        una_corda=int(rng.integers(10, 128)) if rng.random() < 0.15 else 0,
        sostenuto=rng.random() < 0.06,
    )


def brush(rng: Generator, strokes: list[Stroke]) -> list[Stroke]:
    """The strokes, and now and then a neighbour of theirs touched by accident."""
    often = float(rng.choice([0.0, 0.01, 0.04], p=[0.6, 0.3, 0.1]))
    brushed = [
        Stroke(
            s.beat, 0.2, min(max(s.key + int(rng.choice([-2, -1, 1, 2])), LOWEST_KEY), HIGHEST_KEY), BRUSHED
        )
        for s in strokes
        if rng.random() < often
    ]
    return strokes + brushed


def _passage(rng: Generator, texture: Texture, start: float, seconds: float, temper: float) -> Events:
    tempo = float(np.exp(rng.uniform(np.log(52), np.log(190))))
    harmony = Harmony.draw(rng)
    beats = max(seconds * tempo / 60 - 1, 2)
    strokes = texture(rng, harmony, beats)
    tempo = min(tempo, FASTEST * 60 * beats / len(strokes))
    return perform(rng, brush(rng, strokes), draw_manner(rng, tempo, harmony.rhythm, temper), start)


def _ended(events: Events, seconds: float) -> Events:
    """The last movement of each pedal from `seconds` on; MIDI files keep no order at one time."""
    late = (events["kind"] == CONTROL) & (events["time"] >= seconds)
    for pedal in PEDALS:
        of_pedal = np.flatnonzero(late & (events["number"] == pedal))
        late[of_pedal[-1:]] = False
    return events[~late]


def _lead(rng: Generator) -> float:
    """Seconds of silence before the first note."""
    return float(rng.choice([rng.uniform(0.2, 1.0), rng.uniform(1, 4)], p=[0.85, 0.15]))


def _breath(rng: Generator) -> float:
    """Seconds from the end of a passage to the next."""
    kinds = [0.0, rng.uniform(0.05, 0.4), rng.uniform(0.4, 2), rng.uniform(2, 11)]
    return float(rng.choice(kinds, p=[0.57, 0.32, 0.08, 0.03]))
