"""How far what was written down from a recording can be trusted.

Two witnesses: the network itself, which says how likely each note is
(`diffsynth.transcription.intervals`), and the attacks in the audio, by `diffsynth.alignment`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffsynth.alignment.config import Align
from diffsynth.alignment.line_fit import measure
from diffsynth.alignment.tuning import measure_pitch
from diffsynth.audio.files import Samples
from diffsynth.midi.events import HIGHEST_KEY, LOWEST_KEY, SUSTAIN, UNA_CORDA, Events
from diffsynth.transcription.windows import Onsets

DOUBTFUL = 0.5  # probability below which a note is doubtful
CLOCK = Align(max_offset=0.2, max_drift=0.0, max_residual=1000.0, min_matched=0.0)  # it is that of the audio


@dataclass(frozen=True)
class Entry:
    """What is known of the notes of one recording.

    Attributes:
        name: of the recording, its path without suffix.
        duration: s.
        notes: that were written.
        keys: of them, different ones.
        sure: mean probability of the notes: the share that the network expects to be right.
        doubtful: notes with a probability below one half.
        missed: share of the onsets to be expected, by the network, that were not written.
        heard: share of the notes whose key rises in the audio, as `diffsynth align` counts.
        pedals: times that the sustain pedal goes down, as is `soft_pedals` for una corda.
        softest: velocity that 95 % of the notes exceed; `loudest`: that 5 % exceed.
        tuning_cents: of the piano above 440 Hz; None if it cannot be measured, like `stretch_cents`.
        stretch_cents: its increase per octave.
    """

    name: str
    duration: float
    notes: int
    keys: int
    sure: float
    doubtful: int
    missed: float
    heard: float
    pedals: int
    soft_pedals: int
    softest: int
    loudest: int
    tuning_cents: float | None
    stretch_cents: float | None


@dataclass(frozen=True)
class Key:
    """The notes of one key: its MIDI number, how many, their mean probability, least and highest velocity."""

    key: int
    notes: int
    sure: float
    softest: int
    loudest: int


def judge(
    name: str, heard: NDArray[np.void], onsets: Onsets, events: Events, audio: Samples, rate: int
) -> Entry:
    """Measure how far notes can be trusted.

    Args:
        name: of the recording.
        heard: `diffsynth.transcription.transkun.HEARD` rows, at least one of them a note.
        onsets: probabilities at all times.
        events: the same as `heard`.
        audio: mono, at `rate` Hz.
        rate: see `audio`.
    """
    notes = heard[heard["pitch"] > 0]
    written = float(notes["probability"].sum())
    missed = onsets.elsewhere(notes["onset"].tolist(), notes["pitch"].tolist())
    pitch = measure_pitch(events, audio, rate)
    softest, loudest = np.percentile(notes["velocity"], [5, 95])
    return Entry(
        name=name,
        duration=round(len(audio) / rate, 6),
        notes=len(notes),
        keys=len(np.unique(notes["pitch"])),
        sure=round(float(notes["probability"].mean()), 4),
        doubtful=int((notes["probability"] < DOUBTFUL).sum()),
        missed=round(missed / max(written + missed, 1e-9), 4),
        heard=round(measure(events, audio, rate, CLOCK).matched, 4),
        pedals=int((heard["pitch"] == -SUSTAIN).sum()),
        soft_pedals=int((heard["pitch"] == -UNA_CORDA).sum()),
        softest=round(softest),
        loudest=round(loudest),
        tuning_cents=pitch.cents,
        stretch_cents=pitch.stretch,
    )


def keys_of(heard: NDArray[np.void]) -> list[Key]:
    """The keys that are struck, from the lowest."""
    result = []
    for key in np.unique(heard["pitch"][heard["pitch"] > 0]).tolist():
        notes = heard[heard["pitch"] == key]
        velocity = notes["velocity"]
        sure = round(float(notes["probability"].mean()), 4)
        result.append(Key(key, len(notes), sure, int(velocity.min()), int(velocity.max())))
    return result


def together(keys: Sequence[Key]) -> list[Key]:
    """The same of several recordings, for all 88 keys, those that are never struck included."""
    result = []
    for number in range(LOWEST_KEY, HIGHEST_KEY + 1):
        same = [key for key in keys if key.key == number]
        count = sum(key.notes for key in same)
        sure = round(sum(key.sure * key.notes for key in same) / max(count, 1), 4)
        softest = min((key.softest for key in same), default=0)
        result.append(Key(number, count, sure, softest, max((key.loudest for key in same), default=0)))
    return result
