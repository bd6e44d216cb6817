"""Textures of generated piano music: what the hands play during one passage, in beats.

Every texture is a function of a seeded random generator, a harmony and a length in beats, and
returns strokes that all begin before that length.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from diffsynth.datasets.composer.expression import Stroke
from diffsynth.midi.events import HIGHEST_KEY, LOWEST_KEY

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "pentatonic": (0, 2, 4, 7, 9),
    "whole tone": (0, 2, 4, 6, 8, 10),
    "chromatic": tuple(range(12)),
}


@dataclass(frozen=True)
class Harmony:
    """A scale, and a chord for every `rhythm` beats.

    Attributes:
        scale: pitch classes.
        chords: pitch classes of each chord, root first.
        rhythm: beats that a chord lasts.
    """

    scale: tuple[int, ...]
    chords: list[tuple[int, ...]]
    rhythm: float

    @classmethod
    def draw(cls, rng: Generator) -> "Harmony":
        """A random key with eight chords on its steps, of three or four notes."""
        steps = SCALES[rng.choice(list(SCALES), p=[0.3, 0.3, 0.12, 0.1, 0.06, 0.12])]
        tonic = int(rng.integers(12))
        chords = []
        for _ in range(8):
            root, size = int(rng.integers(len(steps))), int(rng.choice([3, 4]))
            skip = 2 if len(steps) < 12 else int(rng.integers(3, 5))
            chords.append(tuple((tonic + steps[(root + skip * i) % len(steps)]) % 12 for i in range(size)))
        return cls(tuple((tonic + s) % 12 for s in steps), chords, float(rng.choice([1, 2, 4])))

    def chord(self, beat: float) -> tuple[int, ...]:
        """Pitch classes that sound at a beat."""
        return self.chords[int(beat / self.rhythm + 1e-9) % len(self.chords)]


def within(classes: tuple[int, ...], low: int, high: int) -> list[int]:
    """All keys from `low` to `high` (MIDI) of these pitch classes, ascending; never empty."""
    low, high = max(low, LOWEST_KEY), min(high, HIGHEST_KEY)
    return [key for key in range(low, high + 1) if key % 12 in classes] or [low]


def span(rng: Generator, octaves: float) -> tuple[int, int]:
    """A random range of the keyboard that many octaves wide."""
    low = int(rng.integers(LOWEST_KEY, HIGHEST_KEY - int(12 * octaves) + 1))
    return low, low + int(12 * octaves)


def scales(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Runs up and down, in one hand, in parallel (octave, third, tenth) or contrary motion."""
    step = float(rng.choice([1 / 2, 1 / 3, 1 / 4, 1 / 6]))
    keys = within(harmony.scale, *span(rng, rng.uniform(1.5, 4)))
    second = str(rng.choice(["none", "octave", "third", "contrary"]))
    at, direction, strokes = int(rng.integers(len(keys))), 1, []
    for beat in np.arange(0, beats, step):
        accent = 5.0 if beat % 1 < 1e-6 else 0.0
        strokes.append(Stroke(beat, step, keys[at], accent))
        other = {
            "octave": keys[at] - 12,
            "third": keys[max(at - 2, 0)],
            "contrary": keys[len(keys) - 1 - at],
        }.get(second, 0)
        if LOWEST_KEY <= other != keys[at]:
            strokes.append(Stroke(beat, step, other, accent - 4))
        if rng.random() < 0.04 or not 0 <= at + direction < len(keys):
            direction = -direction
        at = min(max(at + direction, 0), len(keys) - 1)
    return strokes


def arpeggios(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Broken chords across several octaves, sometimes over a held bass."""
    step = float(rng.choice([1 / 3, 1 / 4, 1 / 6]))
    low, high = span(rng, rng.uniform(2, 4.5))
    hold = float(rng.choice([1.0, 1.0, 3.0]))  # notes for which a hand stays on the chord
    bass = rng.random() < 0.5
    strokes = []
    for i, beat in enumerate(np.arange(0, beats, step)):
        keys = within(harmony.chord(beat), low, high)
        turn = 2 * len(keys) - 2 or 1
        strokes.append(Stroke(beat, step * hold, keys[min(i % turn, turn - i % turn)]))
        if bass and beat % harmony.rhythm < 1e-6:
            root = within(harmony.chord(beat)[:1], LOWEST_KEY, 48)[-1 if rng.random() < 0.6 else 0]
            strokes.append(Stroke(beat, harmony.rhythm, root, 4.0))
    return strokes


def chords(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Chords of three to ten notes in both hands, struck together or rolled."""
    rhythm = float(rng.choice([1 / 2, 1, 2]))
    left, right = int(rng.integers(2, 6)), int(rng.integers(3, 6))
    roll = float(rng.choice([0, 0, 0.06]))
    low = int(rng.integers(28, 53))
    strokes = []
    for beat in np.arange(0, beats, rhythm):
        under = within(harmony.chord(beat), low, low + 14)
        over = within(harmony.chord(beat), low + 19 + int(rng.integers(-4, 8)), low + 40)
        keys = sorted(set(under[:left] + over[:right]))
        top = len(keys) - 1
        strokes += [Stroke(beat + i * roll, rhythm, key, 6.0 * (i == top)) for i, key in enumerate(keys)]
    return strokes


def repeated(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Fast repetitions of one key, now and then moving on, over sparse chords."""
    step = float(rng.choice([1 / 3, 1 / 4, 1 / 6]))
    keys = within(harmony.scale, *span(rng, 1.5))
    at, strokes = len(keys) // 2, []
    for i, beat in enumerate(np.arange(0, beats, step)):
        if i % int(rng.integers(3, 7)) == 0:
            at = min(max(at + int(rng.integers(-2, 3)), 0), len(keys) - 1)
        strokes.append(Stroke(beat, step * 0.7, keys[at]))
    for beat in np.arange(0, beats, 2):
        under = within(harmony.chord(beat), keys[0] - 24, keys[0] - 3)
        strokes += [Stroke(beat, 1.5, key, -6) for key in under[:3]]
    return strokes


def trills(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Trills and tremolos, two to four beats each, over or under a slow second voice."""
    low, high = span(rng, 2)
    keys = within(harmony.scale, low, high)
    away = -19 if low > 60 or (low > 40 and rng.random() < 0.5) else 19
    strokes, beat = [], 0.0
    while beat < beats:
        length, step = float(rng.integers(2, 5)), float(rng.choice([1 / 6, 1 / 8]))
        at = int(rng.integers(max(len(keys) - 4, 1)))
        pair = keys[at], keys[min(at + int(rng.choice([1, 1, 2, 3])), len(keys) - 1)]
        length = min(length, beats - beat)
        count = max(int(length / step), 1)
        strokes += [Stroke(beat + i * step, step, pair[i % 2], 3.0 * (i == 0)) for i in range(count)]
        for slow in np.arange(beat, beat + length, 1):
            voice = within(harmony.chord(slow), low + away, high + away)
            strokes.append(Stroke(slow, 1.0, int(rng.choice(voice)), 5.0))
        beat += max(length, step)
    return strokes


def song(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """A melody over an accompaniment: Alberti bass, waltz, rising figures or repeated chords."""
    low = int(rng.integers(57, 77))
    strokes = [s._replace(accent=12.0) for s in line(rng, harmony, beats, low, low + 19, (0.5, 1, 1, 1.5, 2))]
    pattern = [(0, 2, 1, 2), (0, 1, 2, 1), (0, -1, -1), (0, 1, 2, 3, 4, 3), (-1,)][int(rng.integers(5))]
    step = 1.0 if -1 in pattern else float(rng.choice([1 / 2, 1 / 4]))
    base = low - int(rng.integers(17, 27))
    for i, beat in enumerate(np.arange(0, beats, step)):
        keys = within(harmony.chord(beat), base, base + 17)
        figure = pattern[i % len(pattern)]
        struck = keys[1:4] if figure < 0 else [keys[min(figure, len(keys) - 1)]]
        strokes += [Stroke(beat, step, key, -8.0 if figure else -3.0) for key in struck]
    return strokes


def voices(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Three or four independent lines."""
    count, bottom = int(rng.integers(3, 5)), int(rng.integers(33, 45))
    strokes: list[Stroke] = []
    for voice in range(count):
        low = bottom + 12 * voice
        lengths = (1.0, 2.0) if voice == 0 else (0.25, 0.5, 0.5, 1.0)
        strokes += [s._replace(accent=3.0 * voice) for s in line(rng, harmony, beats, low, low + 15, lengths)]
    return strokes


def etude(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """A melody in octaves and full chords over wide, fast broken chords."""
    low = int(rng.integers(60, 70))
    strokes = []
    for top in line(rng, harmony, beats, low + 12, low + 26, (0.5, 1, 1, 1.5)):
        filling = within(harmony.chord(top.beat), top.key - 11, top.key - 1)
        keys = [top.key - 12, *filling[: int(rng.integers(0, 4))]]
        strokes += [top._replace(accent=8.0), *(top._replace(key=key) for key in keys)]
    base, step = low - int(rng.integers(24, 32)), float(rng.choice([1 / 4, 1 / 6]))
    for i, beat in enumerate(np.arange(0, beats, step)):
        keys = within(harmony.chord(beat), base, base + 26)
        turn = 2 * len(keys) - 2 or 1
        strokes.append(Stroke(beat, step, keys[min(i % turn, turn - i % turn)], -8.0))
    return strokes


def leaps(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Octaves, single notes and clusters anywhere on the keyboard, with sharp accents."""
    step = float(rng.choice([1 / 4, 1 / 2, 1]))
    strokes = []
    for beat in np.arange(0, beats, step):
        if rng.random() < 0.15:
            continue
        key = int(rng.choice(within(harmony.scale, LOWEST_KEY, HIGHEST_KEY - 12)))
        shape = [(0,), (0, 12), (0, 12), (0, 1, 2), (0, 4, 7, 12), (0, 2, 5, 7)][int(rng.integers(6))]
        accent = float(rng.normal(0, 14))
        strokes += [Stroke(beat, step * float(rng.choice([0.3, 1.0])), key + tone, accent) for tone in shape]
    return strokes or [Stroke(0.0, 1.0, 60)]


def bells(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Few notes far apart that are left to ring."""
    strokes, beat = [], 0.0
    while beat < beats:
        low, high = span(rng, 1.5)
        count = int(rng.choice([1, 1, 2, 3]))
        keys = rng.choice(within(harmony.chord(beat), low, high), size=count)
        length = float(rng.choice([1, 2, 3]))
        strokes += [Stroke(beat, length, int(key)) for key in set(keys.tolist())]
        beat += length
    return strokes


def line(
    rng: Generator, harmony: Harmony, beats: float, low: int, high: int, lengths: tuple[float, ...]
) -> list[Stroke]:
    """A single voice that mostly moves by step, meeting the chord on whole beats."""
    keys = within(harmony.scale, low, high)
    at, beat, strokes = int(rng.integers(len(keys))), 0.0, []
    while beat < beats:
        length = float(rng.choice(lengths))
        at = min(max(at + int(rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3])), 0), len(keys) - 1)
        key = keys[at]
        if beat % 1 < 1e-6:
            tones = within(harmony.chord(beat), low, high)
            key = min(tones, key=lambda tone: abs(tone - keys[at]))
        if rng.random() > 0.06:  # now and then a rest
            strokes.append(Stroke(beat, length, key))
        beat += length
    return strokes or [Stroke(0.0, 1.0, keys[at])]


Texture = Callable[[Generator, Harmony, float], list[Stroke]]
TEXTURES: tuple[Texture, ...] = (
    scales,
    arpeggios,
    chords,
    repeated,
    trills,
    song,
    voices,
    etude,
    leaps,
    bells,
)
DENSE: tuple[Texture, ...] = (chords, voices, etude)
