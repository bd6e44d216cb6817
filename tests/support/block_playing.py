"""Notes at random for small voices, and a synthesizer played block by block."""

import numpy as np
import pytest

from diffsynth.midi.events import (
    CONTROL,
    HIGHEST_KEY,
    LOWEST_KEY,
    NOTE_OFF,
    NOTE_ON,
    SAMPLE_EVENT,
    SUSTAIN,
    make_events,
)
from diffsynth.synthesis.synthesizer import NO_EVENTS

RATE = 24000
MODELS, BLOCKS = ("lstm", "s6"), (512, 1024, 2048, 4096)
models = pytest.mark.parametrize("model", MODELS)


def music(seed=1, seconds=1.5, notes=12):
    """Notes at random, some under the pedal, all released by `seconds`."""
    rng = np.random.default_rng(seed)
    rows = [(0.3, CONTROL, SUSTAIN, 100), (0.8 * seconds, CONTROL, SUSTAIN, 0)]
    for _ in range(notes):
        onset, key = rng.uniform(0, 0.7 * seconds), int(rng.integers(LOWEST_KEY, HIGHEST_KEY + 1))
        rows.append((onset, NOTE_ON, key, int(rng.integers(20, 120))))
        rows.append((rng.uniform(onset, seconds), NOTE_OFF, key, 0))
    return make_events(rows)


def sample_events(*rows):
    """`SAMPLE_EVENT` array from rows (position, kind, number, value), in the order given."""
    return np.array(list(rows), dtype=SAMPLE_EVENT)


def play(synthesizer, parts):
    return np.concatenate([synthesizer.process(part) for part in parts])


def silence(synthesizer, blocks):
    return play(synthesizer, [NO_EVENTS] * blocks)
