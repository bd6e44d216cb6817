"""Models and block sizes side by side: a table, and curves over the block size as published.

One score is one model at one block size; its values are those of a file that `evaluate` writes,
{"model", "block", "metrics": {...}, "timings": {...}, ...}.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from diffsynth.errors import UserError
from diffsynth.runs.files import read_json


@dataclass(frozen=True)
class Measure:
    """One number of a score: its key in the file, its short and long name, which way is better."""

    key: str
    heading: str
    title: str
    higher_is_better: bool

    @property
    def label(self) -> str:
        """Long name with an arrow in the direction that is better."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}"


QUALITY = (
    Measure("onset_f1", "onset F1", "Onset F1", True),
    Measure("onset_precision", "precision", "Onset precision", True),
    Measure("onset_recall", "recall", "Onset recall", True),
    Measure("pitch_accuracy", "pitch", "Pitch accuracy", True),
    Measure("polyphony_accuracy", "polyphony", "Polyphony accuracy", True),
    Measure("l1", "L1", "L1 distance", False),
    Measure("l2", "L2", "L2 distance", False),
    Measure("spectral_convergence", "SC", "Spectral convergence", False),
    Measure("log_spectral_distance", "LSD", "Log-spectral distance", False),
)
RTF = Measure("rtf", "RTF", "Real-time factor", False)
TIMINGS = (
    RTF,
    Measure("p50_ms", "p50 ms", "Median time per block in ms", False),
    Measure("p99_ms", "p99 ms", "99th percentile of the time per block in ms", False),
)
MEASURES = QUALITY + TIMINGS


@dataclass(frozen=True)
class Scores:
    """What was measured of `model` at `block` samples, by key of the measure."""

    model: str
    block: int
    values: dict[str, float]


def read_scores(path: str | Path) -> Scores:
    """One score from a file of `evaluate`.

    Raises:
        UserError: the file is missing, or a measure in it is missing or not a number.
    """
    report = read_json(path)
    try:
        groups = (("metrics", QUALITY), ("timings", TIMINGS))
        values = {m.key: float(report[group][m.key]) for group, measures in groups for m in measures}
        return Scores(str(report["model"]), int(report["block"]), values)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is not a report of `diffsynth evaluate`: {reason}") from error


def to_csv(scores: Iterable[Scores]) -> str:
    """The table, one row per score, in full precision."""
    header = ["model", "block", *(m.key for m in MEASURES)]
    return _csv(header, ([c.model, c.block, *(c.values[m.key] for m in MEASURES)] for c in scores))


def to_curves(scores: Sequence[Scores]) -> str:
    """The same numbers as CSV with one number per row, which plots of DVC need."""
    rows = ([m.title, c.model, c.block, c.values[m.key]] for m in MEASURES for c in scores)
    return _csv(["measure", "model", "block", "value"], rows)


def to_markdown(scores: Iterable[Scores]) -> str:
    """The table for people, three decimals, columns aligned."""
    rows = [["model", "block", *(m.heading for m in MEASURES)]]
    rows += [[c.model, str(c.block), *(_number(c.values[m.key]) for m in MEASURES)] for c in scores]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # The model is text and stands on the left; numbers stand on the right.
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "".join(_markdown_row(row, widths) for row in (rows[0], rule, *rows[1:]))


def _number(value: float) -> str:
    """Three decimals, or two digits and an exponent where that would show nothing."""
    return f"{value:.1e}" if 0 < abs(value) < 0.01 else f"{value:.3f}"


def plot_rtf(scores: Sequence[Scores]) -> Figure:
    """Real-time factor against block size, one line per model."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    _curves(axes, scores, RTF)
    axes.axhline(1.0, color="0.5", linestyle="--", linewidth=1, label="real time")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def plot_quality(scores: Sequence[Scores]) -> Figure:
    """Each quality measure against block size, one panel per measure, one line per model."""
    columns = 3
    rows = math.ceil(len(QUALITY) / columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    for axes, measure in zip(figure.subplots(rows, columns).flat, QUALITY, strict=True):
        _curves(axes, scores, measure)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _curves(axes: Axes, scores: Sequence[Scores], measure: Measure) -> None:
    for model in dict.fromkeys(c.model for c in scores):
        points = sorted((c.block, c.values[measure.key]) for c in scores if c.model == model)
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=model)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted({c.block for c in scores})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set(title=measure.label, xlabel="block size in samples")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _markdown_row(row: list[str], widths: list[int]) -> str:
    numbers = (score.rjust(width) for score, width in zip(row[1:], widths[1:], strict=True))
    return f"| {' | '.join([row[0].ljust(widths[0]), *numbers])} |\n"


def _csv(header: list[str], rows: Iterable[list[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return file.getvalue()
