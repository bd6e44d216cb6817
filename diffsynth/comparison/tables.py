"""Models and block sizes side by side: a table, and curves over the block size as published.

One score is one model at one block size; its values are those of a file that `evaluate` writes,
{"model", "block", "metrics": {...}, ...}, and of the timings that `infer` writes. What models lie between
(`bounds`) has no block size and no timings: its cells are empty, and its curves are level.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from diffsynth.errors import UserError
from diffsynth.evaluation.registry import METRICS, Measure, Metric
from diffsynth.runs.files import read_json

ABOVE, BELOW = ("excitation",), ("ideal_gains", "recording")  # rows around the models
DRAWN = {"excitation": "--", "ideal_gains": ":"}  # the recording itself is the end of every axis
TIMINGS = {
    "rtf": Measure("RTF", "Real-time factor", "", False),
    "p50_ms": Measure("p50 ms", "Median time per block", "ms", False),
    "p99_ms": Measure("p99 ms", "99th percentile of the time per block", "ms", False),
}


def quality() -> dict[str, Measure]:
    """What models are compared by, but for their speed."""
    return {key: metric for key, metric in METRICS.items() if metric.compared}


def measures() -> dict[str, Measure]:
    """All columns, by key."""
    return quality() | TIMINGS


@dataclass(frozen=True)
class Scores:
    """What was measured of `model` at `block` samples (None: it has none), by key of the measure."""

    model: str
    block: int | None
    values: dict[str, float]


def read_scores(report: str | Path, timings: str | Path) -> Scores:
    """One score from a file of `evaluate` and one of `infer`.

    Raises:
        UserError: a file is missing, or a measure in it is missing or not a number.
    """
    with _named(report, "evaluate"):
        content = read_json(report)
        model, block = str(content["model"]), int(content["block"])
        values = _values(content["metrics"])
    with _named(timings, "infer"):
        content = read_json(timings)
        return Scores(model, block, values | {key: float(content[key]) for key in TIMINGS})


def read_bound(report: str | Path) -> Scores:
    """One score without a block size from a file of `bounds`.

    Raises:
        UserError: the file is missing, or a measure in it is missing or not a number.
    """
    with _named(report, "bounds"):
        content = read_json(report)
        return Scores(str(content["model"]), None, _values(content["metrics"]))


def _values(metrics: dict[str, Any]) -> dict[str, float]:
    """Numbers of a report by key; those that need an optional package may be missing."""
    asked = (key for key, metric in METRICS.items() if metric.compared)
    return {key: float(metrics[key]) for key in asked if key in metrics or METRICS[key].package is None}


def columns_of(scores: Iterable[Scores]) -> dict[str, Measure]:
    """The measures that some score holds, by key."""
    held = {key for score in scores for key in score.values}
    return {key: measure for key, measure in measures().items() if key in held}


@contextmanager
def _named(path: str | Path, command: str) -> Iterator[None]:
    """Name the file in which something is missing."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is not a report of `diffsynth {command}`: {reason}") from error


def to_csv(scores: Sequence[Scores]) -> str:
    """The table, one row per score, in full precision."""
    keys = list(columns_of(scores))
    rows = ([c.model, c.block, *(c.values.get(key) for key in keys)] for c in scores)
    return _csv(["model", "block", *keys], rows)


def to_curves(scores: Sequence[Scores]) -> str:
    """The same numbers as CSV with one number per row, which plots of DVC need."""
    blocks = sorted({c.block for c in scores if c.block is not None})
    rows = (
        [measure.name, c.model, block, c.values[key]]
        for key, measure in columns_of(scores).items()
        for c in scores
        if key in c.values
        for block in (blocks if c.block is None else [c.block])
    )
    return _csv(["measure", "model", "block", "value"], rows)


def to_markdown(scores: Sequence[Scores]) -> str:
    """The table for people, three decimals, columns aligned; it leaves some measures out (`in_table`)."""
    columns = {
        key: measure
        for key, measure in columns_of(scores).items()
        if not isinstance(measure, Metric) or measure.in_table
    }
    rows = [["model", "block", *(m.heading for m in columns.values())]]
    rows += [[c.model, _cell(c.block), *(_number(c.values.get(key)) for key in columns)] for c in scores]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # The model is text and stands on the left; numbers stand on the right.
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "".join(_markdown_row(row, widths) for row in (rows[0], rule, *rows[1:]))


def _cell(value: int | None) -> str:
    return "" if value is None else str(value)


def _number(value: float | None) -> str:
    """Three decimals, or two digits and an exponent where those would be zeros; nothing for None."""
    if value is None:
        return ""
    return f"{value:.1e}" if 0 < abs(value) < 0.01 else f"{value:.3f}"


def plot_rtf(scores: Sequence[Scores]) -> Figure:
    """Real-time factor against block size, one line per model."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    _curves(axes, scores, "rtf", TIMINGS["rtf"])
    axes.axhline(1.0, color="0.5", linestyle="--", linewidth=1, label="real time")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def plot_quality(scores: Sequence[Scores]) -> Figure:
    """Each quality measure against block size, one panel per measure, one line per model.

    Straight lines are what nothing learned and right gains get.
    """
    columns = 4
    shown = {key: measure for key, measure in columns_of(scores).items() if key in quality()}
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (key, measure) in zip(panels, shown.items(), strict=False):
        _curves(axes, scores, key, measure)
    for axes in figure.axes[len(shown) :]:
        axes.remove()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _curves(axes: Axes, scores: Sequence[Scores], key: str, measure: Measure) -> None:
    found = [(c.model, c.block, c.values[key]) for c in scores if key in c.values]
    points = [(model, block, value) for model, block, value in found if block is not None]
    for model in dict.fromkeys(model for model, _, _ in points):
        own = sorted((block, value) for name, block, value in points if name == model)
        axes.plot(*zip(*own, strict=True), marker="o", markersize=4, label=model)
    for model, block, value in found:
        if block is None and model in DRAWN:
            label = model.replace("_", " ")
            axes.axhline(value, color="0.5", linestyle=DRAWN[model], linewidth=1, label=label)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted({block for _, block, _ in points})))
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
