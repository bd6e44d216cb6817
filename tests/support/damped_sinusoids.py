"""A small piano, its sound as a direct sum of damped sinusoids, and the bank played block by block."""

import numpy as np

from diffsynth.midi.events import SAMPLE_EVENT
from diffsynth.piano.piano import Piano

RATE, FRAME = 24000, 128
PIANO = Piano(
    key=np.array([0, 39, 39, 39, 87, 87]),
    frequency=np.array([27.5, 261.6, 262.1, 524.0, 4186.0, 8411.5]),
    decay=np.array([0.4, 0.8, 2.5, 1.9, 9.0, 14.0]),
    amplitude=np.array([0.2, 0.1 + 0.05j, -0.07j, 0.03, 0.05 - 0.02j, 0.02j]),
    release=np.linspace(15, 60, 88),
    exponent=np.linspace(1.2, 2.1, 88),
)


def events_of(*rows):
    return np.array(list(rows), dtype=SAMPLE_EVENT)


def direct(strikes, length, piano=PIANO):
    """Sum of strikes (onset in samples, key from 0, velocity, fall of the damper in samples or None)."""
    audio = np.zeros(length)
    for onset, key, velocity, fall in strikes:
        t = np.arange(length - onset) / RATE
        damped = np.zeros(len(t)) if fall is None else np.maximum(0, t - (fall - onset) / RATE)
        for p in np.flatnonzero(piano.key == key):
            phase = (2j * np.pi * piano.frequency[p] - piano.decay[p]) * t
            sound = np.real(piano.amplitude[p] * np.exp(phase - piano.release[key] * damped))
            audio[onset:] += (velocity / 64) ** piano.exponent[key] * sound
    return audio


def play(bank, events, blocks, gain=None):
    """Audio of consecutive blocks of so many frames; `gain` is [all frames + 1, p], or 1."""
    audio, frame = [], 0
    if gain is None:
        gain = np.ones((sum(blocks) + 1, bank.modes), dtype=np.float32)
    for frames in blocks:
        begin, end = frame * FRAME, (frame + frames) * FRAME
        part = events[(events["position"] >= begin) & (events["position"] < end)].copy()
        part["position"] -= begin
        audio.append(bank.play(bank.process(part, frames), gain[frame : frame + frames + 1]))
        frame += frames
    return np.concatenate(audio)


GAINS = np.exp(np.random.default_rng(0).normal(0, 0.7, (33, 6))).astype(np.float32)
