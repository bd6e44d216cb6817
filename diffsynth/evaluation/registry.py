"""The table of metrics. `evaluate` computes each of them, `compare` has a column and a panel for each."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from diffsynth.errors import to_install
from diffsynth.evaluation import jumps
from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.image import image_difference
from diffsynth.evaluation.log_mel import log_mel_distance
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
from diffsynth.evaluation.perceptual import zimtohrli
from diffsynth.evaluation.quiet import quiet_floor

ARROWS = {True: "↑", False: "↓", None: "→ 0"}


@dataclass(frozen=True)
class Measure:
    """A number that models are compared by.

    Attributes:
        heading: short name, of a column.
        title: long name.
        unit: of the number; empty if it has none.
        higher_is_better: which way is better; None if the best is 0, from both sides.
    """

    heading: str
    title: str
    unit: str
    higher_is_better: bool | None

    @property
    def name(self) -> str:
        """Long name with the unit."""
        return f"{self.title} in {self.unit}" if self.unit else self.title

    @property
    def perfect(self) -> float:
        """The best value that there is."""
        return 1.0 if self.higher_is_better else 0.0

    @property
    def label(self) -> str:
        """Long name with an arrow in the direction that is better."""
        return f"{self.name} {ARROWS[self.higher_is_better]}"


@dataclass(frozen=True)
class Metric(Measure):
    """A measure of a prediction beside its target.

    Attributes:
        compute: the number.
        compared: whether `compare` shows it.
        in_table: whether also in the table for people, which has to fit a page.
        package: what has to be installed for it, if that is optional.
        of_notes: whether it is measured only of pairs whose notes are known.
        of_image: whether it is a number of all channels together, and not of each; of one there is none.
    """

    compute: Callable[[Pair], float]
    compared: bool = True
    in_table: bool = True
    package: str | None = None
    of_notes: bool = False
    of_image: bool = False

    @property
    def available(self) -> bool:
        """Whether it can be computed here."""
        return self.package is None or find_spec(self.package) is not None


def _convergence(pair: Pair) -> float:
    return float(np.mean([spectral_convergence(*pair.spectra(size)) for size in pair.settings.fft_sizes]))


def _pitch(pair: Pair) -> float:
    target, prediction = (pitch_track(frames, pair.rate) for frames in pair.frames)
    return pitch_accuracy(target, prediction, pair.settings.pitch_tolerance)


def _polyphony(pair: Pair) -> float:
    target, prediction = (chroma(frames, pair.rate) for frames in pair.frames)
    return polyphony_accuracy(target, prediction)


def _log_mel(pair: Pair) -> float:
    return log_mel_distance(*pair.frames, pair.rate)


def _jumps(pair: Pair) -> float:
    return jumps.jumps_per_minute(*pair.spectra(jumps.FFT, jumps.HOP), pair.rate)


def _level(pair: Pair) -> float:
    return level_difference(pair.target, pair.raw, pair.rate)


def _image(pair: Pair) -> float:
    return image_difference(pair.target, pair.prediction, pair.rate)


def _note_score(name: str, heading: str, title: str) -> Metric:
    """A metric of what Transkun hears; see `diffsynth/evaluation/notes.py`."""

    def compute(pair: Pair) -> float:
        assert pair.notes is not None
        return pair.notes.f1(name)

    return Metric(heading, title, "", True, compute, package="transkun", of_notes=True)


METRICS: dict[str, Metric] = {
    "onset_f1": Metric("onset F1", "Onset F1", "", True, lambda pair: pair.onsets[2]),
    "onset_precision": Metric(
        "precision", "Onset precision", "", True, lambda pair: pair.onsets[0], in_table=False
    ),
    "onset_recall": Metric("recall", "Onset recall", "", True, lambda pair: pair.onsets[1], in_table=False),
    "pitch_accuracy": Metric("pitch", "Pitch accuracy", "", True, _pitch),
    "polyphony_accuracy": Metric("polyphony", "Polyphony accuracy", "", True, _polyphony),
    "l1": Metric(
        "L1", "L1 distance", "", False, lambda pair: float(np.abs(pair.difference).mean()), in_table=False
    ),
    "l2": Metric(
        "L2", "L2 distance", "", False, lambda pair: float(np.square(pair.difference).mean()), in_table=False
    ),
    "spectral_convergence": Metric("SC", "Spectral convergence", "", False, _convergence),
    "log_spectral_distance": Metric(
        "LSD", "Log-spectral distance", "", False, lambda pair: log_spectral_distance(*pair.frames)
    ),
    "log_mel_db": Metric("log-mel", "Log-mel distance", "dB", False, _log_mel),
    "quiet_floor_db": Metric(
        "quiet", "Quiet floor", "dB", None, lambda pair: quiet_floor(pair.target, pair.prediction)
    ),
    "jumps_per_minute": Metric("jumps", "Broadband jumps", "1/min", False, _jumps),
    "zimtohrli": Metric("Zimtohrli", "Zimtohrli distance", "", False, zimtohrli, package="zimtohrli"),
    "note_f1": _note_score("note_f1", "notes", "Note F1"),
    "note_offset_f1": _note_score("note_offset_f1", "offsets", "Note F1 with offsets"),
    "note_velocity_f1": _note_score("note_velocity_f1", "velocities", "Note F1 with offsets and velocities"),
    "level_difference_db": Metric("level", "Level difference", "dB", False, _level, compared=False),
    "image_difference_db": Metric(
        "image", "Image difference", "dB", False, _image, compared=False, of_image=True
    ),
}


def evaluate_pair(target: Array, prediction: Array, rate: int, config: Evaluate) -> dict[str, float]:
    """Every metric of the table but for those of notes and those whose package is not installed.

    Args:
        target: samples, [time].
        prediction: samples, [time]; what one signal has beyond the other's end is left out.
        rate: sample rate of both, Hz.
        config: FFT sizes (samples), onset tolerance (s), pitch tolerance (cents).

    Raises:
        UserError: one of the two holds no samples.
    """
    return measure(Pair(target, prediction, rate, config))


def measure(pair: Pair) -> dict[str, float]:
    """Every metric of the table, those of notes if they are known, that can be computed here.

    Of several channels it is the mean, but for what is measured of all together.
    """
    asked = {name: metric for name, metric in METRICS.items() if _asked(metric, pair)}
    return {
        name: metric.compute(pair) if metric.of_image else _mean(metric, pair)
        for name, metric in asked.items()
    }


def _mean(metric: Metric, pair: Pair) -> float:
    """The mean over channels."""
    values = [metric.compute(one) for one in pair.channels]
    return sum(values) / len(values)


def _asked(metric: Metric, pair: Pair) -> bool:
    """Whether a metric is measured of a pair."""
    if metric.of_image:
        return len(pair.channels) > 1
    return pair.notes is not None if metric.of_notes else metric.available


def absent() -> str:
    """A line about metrics that cannot be computed here; empty if all can."""
    missing = [metric for metric in METRICS.values() if not metric.available and not metric.of_notes]
    if not missing:
        return ""
    titles = ", ".join(metric.title for metric in missing)
    return f"not measured: {titles} ({to_install('perceptual')})"
