"""Signals made by formula, and their scores."""

import numpy as np

from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.registry import evaluate_pair

RATE = 25600  # the onset hop of 256 samples is 10 ms
CONFIG = Evaluate(fft_sizes=[1024, 2048, 4096], onset_tolerance=0.05, pitch_tolerance=50.0)
PERFECT = {
    "l1": 0.0,
    "l2": 0.0,
    "spectral_convergence": 0.0,
    "onset_precision": 1.0,
    "onset_recall": 1.0,
    "onset_f1": 1.0,
    "pitch_accuracy": 1.0,
    "polyphony_accuracy": 1.0,
    "log_spectral_distance": 0.0,
    "level_difference_db": 0.0,
    "log_mel_db": 0.0,
    "quiet_floor_db": 0.0,
    "jumps_per_minute": 0.0,
}


def sine(frequency, seconds=2.0, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)).astype("f4")


def noise(seconds=2.0, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype("f4")


def plucks(times, seconds=4.0, frequency=660.0):
    """Decaying tones that start at `times` (s)."""
    signal = np.zeros(round(seconds * RATE), "f4")
    tone = sine(frequency, 0.2) * np.exp(-np.arange(round(0.2 * RATE)) / (0.03 * RATE)).astype("f4")
    for time in times:
        start = round(time * RATE)
        signal[start : start + len(tone)] += tone[: len(signal) - start]
    return signal


def melody(seed):
    """A few seconds of plucked notes, different for every seed."""
    random = np.random.default_rng(seed)
    notes = [plucks([time], 2.0, 110 * 2 ** random.uniform(0, 3)) for time in random.uniform(0.1, 1.7, 6)]
    return np.sum(notes, axis=0, dtype="f4") / 4


def evaluate(target, prediction):
    return evaluate_pair(target, prediction, RATE, CONFIG)
