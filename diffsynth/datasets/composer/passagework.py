"""More textures, which real performances have and `diffsynth.datasets.composer.textures` lacks.

Fast octaves, tremolos, glissandi, both ends of the keyboard at once, and notes that ring alone for a long
time.
"""

import numpy as np
from numpy.random import Generator

from diffsynth.datasets.composer.expression import Stroke
from diffsynth.datasets.composer.textures import (
    TEXTURES,
    Harmony,
    Texture,
    arpeggios,
    etude,
    song,
    span,
    voices,
    within,
)
from diffsynth.midi.events import HIGHEST_KEY, LOWEST_KEY

WHITE, BLACK = (0, 2, 4, 5, 7, 9, 11), (1, 3, 6, 8, 10)


def torrents(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Octaves in both hands, plain or filled up, in parallel or contrary motion: up to 40 notes a second."""
    step = float(rng.choice([1 / 2, 1 / 3, 1 / 4]))
    low = int(rng.integers(LOWEST_KEY, 49))
    keys = within(harmony.scale, low, low + 24)
    full, apart = rng.uniform(0, 1) * (rng.random() < 0.6), rng.random() < 0.3
    at, strokes = int(rng.integers(len(keys))), []
    for beat in np.arange(0, beats, step):
        right = keys[len(keys) - 1 - at] + 12 if apart else keys[at] + 24
        for bottom in {keys[at], right}:
            strokes += [Stroke(beat, step, bottom), Stroke(beat, step, bottom + 12, 5.0)]
            if rng.random() < full:
                strokes.append(
                    Stroke(
                        beat, step, int(rng.choice(within(harmony.chord(beat), bottom + 1, bottom + 11))), -6
                    )
                )
        at = min(max(at + int(rng.choice([-2, -1, -1, 1, 1, 2])), 0), len(keys) - 1)
    return strokes


def tremolos(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Tremolo of a chord in each hand: its outer note alternates with the others."""
    step = float(rng.choice([1 / 6, 1 / 8]))
    bottoms = [int(rng.integers(LOWEST_KEY, 50)), int(rng.integers(50, 93))][: int(rng.integers(1, 3))]
    strokes = []
    for i, beat in enumerate(np.arange(0, beats, step)):
        for bottom in bottoms:
            first, *rest = within(harmony.chord(beat), bottom, bottom + 14)[:4]
            strokes += [Stroke(beat, step, key) for key in ([first] if i % 2 else rest or [first])]
    return strokes


def glissandi(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Sweeps over white, black or all keys of the harmony, each ending in a chord and a short rest."""
    strokes, beat = [], 0.0
    while beat < beats:
        keys = within((WHITE, BLACK, harmony.scale)[int(rng.integers(3))], *span(rng, rng.uniform(1.5, 5)))
        step = float(rng.choice([1 / 8, 1 / 12, 1 / 16]))
        keys = keys[:: 1 if rng.random() < 0.6 else -1][: max(int((beats - beat) / step), 1)]
        strokes += [Stroke(beat + i * step, step, key, -4.0) for i, key in enumerate(keys)]
        beat += len(keys) * step
        if beat < beats:
            low = min(max(keys[-1] - 8, LOWEST_KEY), HIGHEST_KEY - 16)
            strokes += [
                Stroke(beat, 1.0, key, 12.0) for key in within(harmony.chord(beat), low, low + 16)[:5]
            ]
        beat += float(rng.choice([0.5, 1, 2]))
    return strokes


def hammered(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Chords of both hands struck again and again, together or by turns."""
    step = float(rng.choice([1 / 2, 1 / 3, 1 / 4]))
    low, size, by_turns = int(rng.integers(24, 60)), int(rng.integers(2, 5)), rng.random() < 0.5
    strokes = []
    for i, beat in enumerate(np.arange(0, beats, step)):
        left = within(harmony.chord(beat), low, low + 16)[:size]
        right = within(harmony.chord(beat), low + 17, low + 36)[:size]
        played = (left, right)[i % 2] if by_turns else [*left, *right]
        strokes += [Stroke(beat, step * 0.8, key, 6.0 * (beat % 1 < 1e-6)) for key in played]
    return strokes


def murmurs(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Broken chords in both hands at different speeds, under a sparse melody."""
    steps = [float(step) for step in rng.choice([1 / 2, 1 / 3, 1 / 4, 1 / 6], 2)]
    lows = [int(rng.integers(LOWEST_KEY, 66)), int(rng.integers(48, 82))]
    strokes = []
    for step, low in zip(steps, lows, strict=True):
        order = rng.permutation(5)
        for i, beat in enumerate(np.arange(0, beats, step)):
            keys = within(harmony.chord(beat), low, low + 22)
            strokes.append(Stroke(beat, step, keys[order[i % 5] % len(keys)], -6.0))
    for beat in np.arange(0, beats, float(rng.choice([1, 2, 3]))):
        melody = within(harmony.scale, lows[1] + 8, lows[1] + 26)
        strokes += [Stroke(beat, 1.5, int(rng.choice(melody)), 12.0)]
    return strokes


def extremes(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """The lowest and the highest two octaves, one after the other or together."""
    ends = [
        (LOWEST_KEY, 45, float(rng.choice([1 / 4, 1 / 2, 1]))),
        (84, HIGHEST_KEY, float(rng.choice([1 / 4, 1 / 3, 1]))),
    ]
    strokes = []
    for low, high, step in ends[:: 1 if rng.random() < 0.5 else -1][: int(rng.choice([1, 2, 2]))]:
        keys = within(harmony.scale, low, high)
        at, octave = int(rng.integers(len(keys))), rng.random() < 0.4
        for beat in np.arange(0, beats, step):
            strokes.append(Stroke(beat, step, keys[at]))
            if octave and keys[at] + 12 <= HIGHEST_KEY:
                strokes.append(Stroke(beat, step, keys[at] + 12, -3.0))
            at = min(max(at + int(rng.integers(-3, 4)), 0), len(keys) - 1)
    return strokes


def pillars(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """Chords of up to ten notes over the whole keyboard that ring for a long time."""
    strokes, beat = [], 0.0
    while beat < beats:
        keys = within(harmony.chord(beat), *span(rng, rng.uniform(1, 6)))
        struck = rng.choice(keys, min(int(rng.integers(1, 11)), len(keys)), replace=False)
        length = float(rng.choice([2, 4, 6, 10]))
        strokes += [Stroke(beat, length, key, 6.0 * (key == struck.max())) for key in struck.tolist()]
        beat += length
    return strokes


def recitative(rng: Generator, harmony: Harmony, beats: float) -> list[Stroke]:
    """One voice, free, with rests between its phrases."""
    low = int(rng.integers(LOWEST_KEY, 85))
    keys = within(harmony.scale, low, low + 24)
    at, beat, strokes = int(rng.integers(len(keys))), 0.0, [Stroke(0.0, 1.0, keys[0])]
    while beat < beats:
        if rng.random() < 0.12:
            beat += float(rng.choice([2, 3, 5]))
            continue
        length = float(rng.choice([0.25, 0.5, 0.5, 1, 1, 2]))
        at = min(max(at + int(rng.integers(-3, 4)), 0), len(keys) - 1)
        strokes.append(Stroke(beat, length, keys[at]))
        beat += length
    return [stroke for stroke in strokes if stroke.beat < beats]


FULL: tuple[Texture, ...] = (  # the more often a texture stands here, the more of it is played
    *TEXTURES,
    song,
    voices,
    etude,
    arpeggios,
    torrents,
    torrents,
    tremolos,
    glissandi,
    hammered,
    murmurs,
    murmurs,
    extremes,
    pillars,
    recitative,
)
