"""Seeded piano performances: music of varied textures, and every key by itself.

The same seed gives the same performance. Passages differ in texture, tempo, dynamics, touch and pedalling.
Within a passage the notes belong together as in music: independent random notes would hold no run, no trill
and no chord under a long pedal.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from diffsynth.datasets.composer.expression import LEAD, LOUDEST, SOFTEST, Manner, perform, separate
from diffsynth.datasets.composer.textures import TEXTURES, Harmony, Texture, bells
from diffsynth.midi.events import CONTROL, HIGHEST_KEY, KEYS, LOWEST_KEY, NOTE, Events, from_notes, to_notes

LAYERS = ((SOFTEST, 49), (50, 84), (85, LOUDEST))  # velocities of the notes of a single key
REST = 0.3  # s: a longer one before the first note of a performance is left out


def generate(seed: int, seconds: float, textures: Sequence[Texture] = TEXTURES) -> Events:
    """A performance of passages in every texture, in turn, that begins within its first second.

    Args:
        seed: the same seed and length give the same performance.
        seconds: every event lies before this time.
        textures: what the passages are made of, in random order, each before any comes again.

    Returns:
        Event stream of notes with velocities 15 to 120 and of the three pedals.
    """
    rng = np.random.default_rng([1, seed])
    parts: list[Events] = []
    at, bag = LEAD, list[int]()
    while at < seconds - 2 or not parts:
        bag = bag or rng.permutation(len(textures)).tolist()
        texture, length = textures[bag.pop()], min(seconds - at, rng.uniform(4, 9))
        parts.append(_passage(rng, texture, at, length, first=not parts))
        at = float(parts[-1]["time"].max()) + rng.choice([0.0, 0.1, 0.4, 2.0], p=[0.3, 0.4, 0.2, 0.1])
    return first_seconds(np.concatenate(parts), seconds)


def every_key(seed: int, layers: Sequence[tuple[int, int]] = LAYERS, stretch: float = 1.0) -> Events:
    """Every key by itself at several velocities, in random order; every velocity of a layer occurs.

    One of the notes of a key is held long (2.6 s at the bottom, 0.7 s at the top, times `stretch`),
    the others are shorter; each is released before the next begins, and its end can be heard. About
    five minutes with three layers: the partials and decays of single keys are fitted to it.

    Args:
        seed: the same arguments give the same performance.
        layers: softest and loudest velocity of each note of a key; they should not span more than 88.
        stretch: factor on the time for which keys are held.
    """
    rng = np.random.default_rng([2, seed])
    velocities = [_spread(rng, low, high) for low, high in layers]
    rows, at = [], LEAD
    for turn in range(len(layers)):
        for key in _scattered(rng):
            layer = (turn + key) % len(layers)
            hold = stretch * _hold(key) * (1.0 if layer == key // 3 % len(layers) else 0.33)
            rows.append((at, at + hold, LOWEST_KEY + key, velocities[layer][key]))
            at += hold + rng.uniform(0.14, 0.22)
    return from_notes(np.array(rows, dtype=NOTE))


def _passage(rng: Generator, texture: Texture, start: float, seconds: float, first: bool) -> Events:
    """One passage, the first of a performance or a later one, which may begin with any rest."""
    tempo = rng.uniform(48, 138) if texture is not bells else rng.uniform(40, 70)
    harmony = Harmony.draw(rng)
    beats = max(seconds * tempo / 60 - 1, 2)
    pedal = float(rng.choice([0.0, harmony.rhythm, 4.0, 2 * beats], p=[0.4, 0.3, 0.15, 0.15]))
    special = rng.random()
    loudness = float(np.clip(rng.normal(66, 24), SOFTEST + 5, LOUDEST - 5))
    manner = Manner(
        tempo=tempo,
        loudness=loudness if special >= 0.1 else min(loudness, 50),
        swell=rng.uniform(-25, 25),
        rubato=rng.choice([0.02, 0.06, 0.15]),
        ritardando=rng.uniform(0, 0.4),
        touch=rng.choice([0.35, 0.8, 0.97, 1.1]),
        looseness=rng.uniform(0.002, 0.012),
        pedal=pedal,
        una_corda=special < 0.1,
        sostenuto=0.1 <= special < 0.2,
    )
    strokes = texture(rng, harmony, beats)
    rest = min(stroke.beat for stroke in strokes)
    if first and rest * 60 / tempo > REST:
        strokes = [stroke._replace(beat=stroke.beat - rest) for stroke in strokes]
    return perform(rng, strokes, manner, start)


def first_seconds(events: Events, seconds: float) -> Events:
    """Join passages that may overlap a little, and end by `seconds`."""
    notes = to_notes(events)
    notes = separate(notes[notes["onset"] < seconds - 0.1])
    notes["offset"] = np.minimum(notes["offset"], seconds)
    controls = events[events["kind"] == CONTROL].copy()
    controls["time"] = np.minimum(controls["time"], seconds)
    return from_notes(notes, controls)


def _spread(rng: Generator, low: int, high: int) -> list[int]:
    """A velocity for each key: every one from `low` to `high` at least once, shuffled."""
    return rng.permutation(np.resize(np.arange(low, high + 1), KEYS)).tolist()


def _scattered(rng: Generator) -> list[int]:
    """The keys 0 to 87, low and high by turns, so that neighbours in time are mostly far apart in pitch."""
    low, high = rng.permutation(KEYS // 2), rng.permutation(KEYS // 2) + KEYS // 2
    return np.stack([low, high], axis=1).ravel().tolist()


def _hold(key: int) -> float:
    """Seconds that the long note of key 0 to 87 is held: strings get shorter towards the top."""
    return float(np.interp(key, [0, 36, 60, HIGHEST_KEY - LOWEST_KEY], [2.6, 2.1, 1.2, 0.7]))
