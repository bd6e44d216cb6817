"""Measuring partials of single notes in polyphonic recordings.

A partial is followed by a windowed Fourier sum at its frequency, wherever no other sounding note
has a partial nearby. Times are in samples of the aligned audio.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.takes import Take
from diffsynth.midi.events import KEYS
from diffsynth.midi.pitches import equal_tempered
from diffsynth.midi.strikes import GRID


def window_length(key: int, rate: int) -> int:
    """Samples of a Hann window that keeps the partials of a key apart (four bins), even."""
    return 2 * int(np.clip(2 * rate / equal_tempered(key), rate // 80, rate // 16))


@dataclass(frozen=True)
class Track:
    """Partials of one note over time.

    Attributes:
        velocity: of the strike.
        values: [frames, partials] complex amplitude of the windowed partial, phases relative to the
            onset, NaN where another note interferes.
    """

    velocity: int
    values: NDArray[np.complex128]


def follow(
    recording: Take,
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
        longest: largest number of frames after the onset.
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
