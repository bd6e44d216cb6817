"""Measuring partials of single notes in polyphonic recordings.

A partial is followed by a windowed Fourier sum at its frequency, wherever no other sounding note
has a partial nearby. Everything counts in samples of the aligned audio.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffsynth.audio import Audio
from diffsynth.events import KEYS, LOWEST_KEY, Events
from diffsynth.excitation.dampers import Dampers

TAIL = 0.2  # s that a note is counted as sounding after its damper has fallen
GRID = 128  # samples per step of the map of sounding keys

# One strike: from its onset until something else happens to the same key.
SOUNDING = np.dtype([("key", "i8"), ("velocity", "i8"), ("onset", "i8"), ("damp", "i8"), ("end", "i8")])


@dataclass(frozen=True)
class Recording:
    """An aligned performance: audio [time] at `rate` Hz and events with `position`."""

    audio: Audio
    events: Events
    rate: int


def soundings(events: Events, length: int) -> NDArray[np.void]:
    """`SOUNDING` rows of all strikes within the `length` samples of a recording, by onset.

    `damp` is where the damper falls, `end` the earlier of that and the next strike of the key;
    neither is beyond the end of the recording.
    """
    rows: list[list[int]] = []
    ringing: dict[int, list[list[int]]] = {key: [] for key in range(KEYS)}
    for position, what, key, velocity in Dampers().actions(events):
        if what == "strike":
            for row in ringing[key]:
                row[4] = min(row[4], position)
            row = [key, velocity, position, length, length]
            rows.append(row)
            ringing[key].append(row)
        else:
            for row in ringing[key]:
                row[3], row[4] = position, min(row[4], position)
            ringing[key].clear()
    notes = np.array([tuple(row) for row in rows if 0 <= row[2] < length], dtype=SOUNDING)
    for field in ("damp", "end"):
        notes[field] = notes[field].clip(max=length)
    return notes


def sounding_map(notes: NDArray[np.void], length: int, rate: int) -> NDArray[np.bool_]:
    """[88, length / GRID] whether a key sounds, its tail after the damper included."""
    sounds = np.zeros((KEYS, length // GRID + 1), dtype=bool)
    for key, _, onset, damp, _ in notes.tolist():
        sounds[key, onset // GRID : int(damp + TAIL * rate) // GRID + 1] = True
    return sounds


def equal_tempered(key: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Frequency in Hz of a key (from 0) tuned to A4 = 440 Hz."""
    return 440.0 * 2.0 ** ((np.asarray(key) + LOWEST_KEY - 69) / 12)


def string_partials(fundamental: float, stiffness: float, count: int) -> NDArray[np.float64]:
    """Frequencies in Hz of the partials of a stiff string, k f0 sqrt(1 + B k^2).

    Fletcher, Blackham and Stratton, "Quality of piano tones" (1962), with B the stiffness.
    """
    k = np.arange(1, count + 1)
    return k * fundamental * np.sqrt(1 + stiffness * k**2)


def window_length(key: int, rate: int) -> int:
    """Samples of a Hann window that keeps the partials of a key apart (four bins), even."""
    return 2 * int(np.clip(2 * rate / equal_tempered(key), rate // 80, rate // 16))


@dataclass(frozen=True)
class Track:
    """Partials of one note over time.

    Attributes:
        velocity: of the strike.
        values: [frames, partials] complex amplitude of the windowed partial, turned back to the
            onset, NaN where another note is in the way.
    """

    velocity: int
    values: NDArray[np.complex128]


def follow(
    recording: Recording,
    note: np.void,
    frequencies: NDArray[np.float64],
    conflicts: NDArray[np.bool_],
    sounds: NDArray[np.bool_],
    longest: int,
) -> Track | None:
    """Follow partials of one note; None if it is too short to hold one window.

    Args:
        recording: the performance.
        note: a row of `soundings`.
        frequencies: [partials] Hz.
        conflicts: [partials, 88] whether a key has a partial too close to this one.
        sounds: map of sounding keys.
        longest: frames after the onset to look at.
    """
    key, velocity, onset, _, end = note.item()
    size = window_length(key, recording.rate)
    hop = size // 4
    count = min((min(end, len(recording.audio)) - onset - size) // hop + 1, longest)
    if count < 1:
        return None
    starts = onset + hop * np.arange(count)
    segments = recording.audio[starts[:, None] + np.arange(size)].astype(np.complex128)
    omega = 2 * np.pi * frequencies / recording.rate
    kernel = _hann(size)[:, None] * np.exp(-1j * np.outer(np.arange(size), omega))
    values = (segments @ kernel) * np.exp(-1j * np.outer(starts - onset, omega)) * (4 / size)
    steps = [slice(s // GRID, (s + size) // GRID + 1) for s in starts]
    around = np.stack([sounds[:, step].any(axis=1) for step in steps])
    around[:, key] = False
    values[(around[:, None, :] & conflicts).any(axis=2)] = np.nan
    return Track(velocity, values)


def find_conflicts(
    key: int, frequencies: NDArray[np.float64], all_partials: Iterable[NDArray[np.float64]], rate: int
) -> NDArray[np.bool_]:
    """[partials, 88] whether another key has a partial inside the main lobe around this one."""
    reach = 2.0 * rate / window_length(key, rate)
    conflicts = np.zeros((len(frequencies), KEYS), dtype=bool)
    for other, partials in enumerate(all_partials):
        if other == key or not len(partials):
            continue
        near = np.searchsorted(partials, frequencies)
        below = np.abs(frequencies - partials[np.maximum(near - 1, 0)])
        above = np.abs(frequencies - partials[np.minimum(near, len(partials) - 1)])
        conflicts[:, other] = np.minimum(below, above) < reach
    return conflicts


def _hann(size: int) -> NDArray[np.float64]:
    """Periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
