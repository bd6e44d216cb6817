"""From written notes to a performance: rubato, dynamics, touch and pedals, all seeded."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from diffsynth.datasets.composer.pedalling import Foot, press
from diffsynth.midi.events import CONTROL, EVENT, NOTE, SOSTENUTO, SUSTAIN, UNA_CORDA, Events, from_notes

SOFTEST, LOUDEST = 15, 120  # velocities a performance stays within, unless its manner says otherwise


class Stroke(NamedTuple):
    """One written note: begin and length in beats, MIDI key, velocity above or below the passage's."""

    beat: float
    length: float
    key: int
    accent: float = 0.0


@dataclass(frozen=True)
class Manner:
    """How a passage is played.

    Attributes:
        tempo: beats per minute.
        loudness: velocity in the middle of the passage.
        swell: velocity gained over the first part and lost again towards the end.
        breath: standard deviation of the velocity from one group of four beats to the next.
        rubato: standard deviation of the logarithm of the tempo.
        ritardando: share of tempo lost over the last four beats.
        touch: length of a note as a share of what is written.
        looseness: standard deviation of an onset in seconds.
        pedal: beats between two changes of the sustain pedal; 0 leaves it up.
        upbeat: beats before the first of those changes.
        una_corda: soft pedal down throughout.
        sostenuto: sostenuto pedal catches what is down after the first beat.
        softest: lowest velocity.
        loudest: highest velocity.
        slope: velocity gained from the first beat to the last.
        voicing: factor on the accents of strokes.
        spread: standard deviation of the velocity from note to note.
        release: range of a factor on the length of each note.
        foot: gradual pedals, whatever `pedal` says; with None pedals are switched up and down.
        ring: seconds for which `foot` lets the end ring.
    """

    tempo: float
    loudness: float
    swell: float = 8.0
    breath: float = 5.0
    rubato: float = 0.06
    ritardando: float = 0.25
    touch: float = 0.95
    looseness: float = 0.006
    pedal: float = 0.0
    upbeat: float = 0.0
    una_corda: bool = False
    sostenuto: bool = False
    softest: int = SOFTEST
    loudest: int = LOUDEST
    slope: float = 0.0
    voicing: float = 1.0
    spread: float = 3.0
    release: tuple[float, float] = (0.9, 1.05)
    foot: Foot | None = None
    ring: float = 0.0


def perform(rng: Generator, strokes: list[Stroke], manner: Manner, start: float = 0.0) -> Events:
    """Play written notes.

    Args:
        rng: source of everything that varies.
        strokes: the notes, in beats from the start of the passage.
        manner: how they are played.
        start: seconds at which the passage begins.

    Returns:
        Event stream; onsets of one key never overlap.
    """
    beat, length, key, accent = (np.array(column, dtype=np.float64) for column in zip(*strokes, strict=True))
    clock = TempoMap(rng, float((beat + length).max()), manner)
    notes = np.zeros(len(strokes), dtype=NOTE)
    onset = start + clock(beat)
    notes["onset"] = np.maximum(onset + rng.normal(0, manner.looseness, len(onset)), start)
    notes["offset"] = start + clock(beat + length * manner.touch * rng.uniform(*manner.release, len(beat)))
    notes["key"] = key
    swell = manner.swell * (np.sin(np.pi * beat / clock.beats) - 0.5)
    breath = np.interp(beat, *_wander(rng, clock.beats, manner.breath))
    slope = manner.slope * (beat / clock.beats - 0.5)
    noise = rng.normal(0, manner.spread, len(beat))
    velocity = manner.loudness + swell + breath + manner.voicing * accent + noise + slope
    notes["velocity"] = np.clip(np.rint(velocity), manner.softest, manner.loudest)
    return from_notes(separate(notes), _pedals(rng, clock, manner, start))


class TempoMap:
    """Map from beats to seconds: a tempo that wanders smoothly and slows down at the end."""

    def __init__(self, rng: Generator, beats: float, manner: Manner):
        self.beats = max(beats, 1.0)
        self._grid = np.arange(0, self.beats + 2, 1 / 16)
        wander = np.interp(self._grid, *_wander(rng, self.beats + 2, manner.rubato))
        ending = np.clip((self._grid - self.beats + 4) / 4, 0, 1) * min(1.0, self.beats / 8)
        tempo = manner.tempo / 60 * np.exp(wander) * (1 - manner.ritardando * ending**2)
        self._seconds = np.concatenate([[0.0], np.cumsum(1 / (16 * tempo))[:-1]])

    def __call__(self, beat: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Seconds from the start of the passage."""
        return np.interp(beat, self._grid, self._seconds)


def _wander(
    rng: Generator, beats: float, deviation: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A random value for every fourth beat: beats and values, to be interpolated."""
    every_bar = np.arange(0, beats + 4, 4.0)
    return every_bar, rng.normal(0, deviation, len(every_bar))


def separate(notes: NDArray[np.void], gap: float = 0.02) -> NDArray[np.void]:
    """`NOTE` array in which every note ends at least `gap` seconds before its key is played again.

    Of two onsets of one key less than two gaps apart the first is kept.
    """
    kept: list[np.void] = []
    for note in notes[np.lexsort((notes["onset"], notes["key"]))]:
        note["offset"] = max(note["offset"], note["onset"] + gap)
        if kept and kept[-1]["key"] == note["key"]:
            if note["onset"] < kept[-1]["onset"] + 2 * gap:
                continue
            kept[-1]["offset"] = min(kept[-1]["offset"], note["onset"] - gap)
        kept.append(note)
    result = np.array(kept, dtype=NOTE)
    return result[np.lexsort((result["key"], result["onset"]))]


def _pedals(rng: Generator, clock: TempoMap, manner: Manner, start: float) -> Events:
    rows: list[tuple[float, int, int, int]] = []
    end = start + float(clock(clock.beats))
    if manner.foot is not None:
        changes = np.arange(manner.upbeat, clock.beats, manner.pedal or np.inf)
        return press(rng, manner.foot, start + clock(changes), start, end + manner.ring)
    if manner.pedal:
        for beat in np.arange(manner.upbeat, clock.beats, manner.pedal):
            at = start + float(clock(beat))
            # Legato pedal: up with the new harmony, down again just after it.
            rows.append((at, CONTROL, SUSTAIN, 0))
            rows.append((at + rng.uniform(0.06, 0.15), CONTROL, SUSTAIN, int(rng.integers(90, 128))))
        rows.append((end + rng.uniform(0.1, 0.6), CONTROL, SUSTAIN, 0))
    if manner.una_corda:
        rows += [(start, CONTROL, UNA_CORDA, 127), (end, CONTROL, UNA_CORDA, 0)]
    if manner.sostenuto:
        rows += [(start + float(clock(0.9)), CONTROL, SOSTENUTO, 127), (end, CONTROL, SOSTENUTO, 0)]
    events = np.array(rows, dtype=EVENT)
    return events[np.argsort(events["time"], kind="stable")]
