"""The table of metrics. `evaluate` computes each of them, `compare` has a column and a panel for each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.metrics import (
    Array,
    chroma,
    level_difference,
    log_spectral_distance,
    pitch_accuracy,
    pitch_track,
    polyphony_accuracy,
    spectral_convergence,
)
from diffsynth.evaluation.pair import Pair


@dataclass(frozen=True)
class Measure:
    """A number that models are compared by.

    Attributes:
        heading: short name, of a column.
        title: long name.
        unit: of the number; empty if it has none.
        higher_is_better: which way is better.
    """

    heading: str
    title: str
    unit: str
    higher_is_better: bool

    @property
    def name(self) -> str:
        """Long name with the unit."""
        return f"{self.title} in {self.unit}" if self.unit else self.title

    @property
    def label(self) -> str:
        """Long name with an arrow in the direction that is better."""
        return f"{self.name} {'↑' if self.higher_is_better else '↓'}"


@dataclass(frozen=True)
class Metric(Measure):
    """A measure of a prediction beside its target.

    Attributes:
        compute: the number.
        compared: whether `compare` shows it.
    """

    compute: Callable[[Pair], float]
    compared: bool = True


def _convergence(pair: Pair) -> float:
    return float(np.mean([spectral_convergence(*pair.spectra(size)) for size in pair.settings.fft_sizes]))


def _pitch(pair: Pair) -> float:
    target, prediction = (pitch_track(frames, pair.rate) for frames in pair.frames)
    return pitch_accuracy(target, prediction, pair.settings.pitch_tolerance)


def _polyphony(pair: Pair) -> float:
    target, prediction = (chroma(frames, pair.rate) for frames in pair.frames)
    return polyphony_accuracy(target, prediction)


def _level(pair: Pair) -> float:
    return level_difference(pair.target, pair.raw, pair.rate)


METRICS: dict[str, Metric] = {
    "onset_f1": Metric("onset F1", "Onset F1", "", True, lambda pair: pair.onsets[2]),
    "onset_precision": Metric("precision", "Onset precision", "", True, lambda pair: pair.onsets[0]),
    "onset_recall": Metric("recall", "Onset recall", "", True, lambda pair: pair.onsets[1]),
    "pitch_accuracy": Metric("pitch", "Pitch accuracy", "", True, _pitch),
    "polyphony_accuracy": Metric("polyphony", "Polyphony accuracy", "", True, _polyphony),
    "l1": Metric("L1", "L1 distance", "", False, lambda pair: float(np.abs(pair.difference).mean())),
    "l2": Metric("L2", "L2 distance", "", False, lambda pair: float(np.square(pair.difference).mean())),
    "spectral_convergence": Metric("SC", "Spectral convergence", "", False, _convergence),
    "log_spectral_distance": Metric(
        "LSD", "Log-spectral distance", "", False, lambda pair: log_spectral_distance(*pair.frames)
    ),
    "level_difference_db": Metric("level", "Level difference", "dB", False, _level, compared=False),
}


def evaluate_pair(target: Array, prediction: Array, rate: int, config: Evaluate) -> dict[str, float]:
    """Every metric of the table.

    Args:
        target: samples, [time].
        prediction: samples, [time]; what one signal has beyond the other's end is left out.
        rate: sample rate of both, Hz.
        config: FFT sizes (samples), onset tolerance (s), pitch tolerance (cents).

    Raises:
        UserError: one of the two holds no samples.
    """
    pair = Pair(target, prediction, rate, config)
    return {name: metric.compute(pair) for name, metric in METRICS.items()}
