"""Pictures of the comparison: curves over the block size, as published, with intervals.

Every axis of a quality measure holds the perfect value and all that is drawn, the low anchor too: a
difference looks as large as it is beside what is left to gain.
"""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from diffsynth.comparison.tables import NAMES, TIMINGS, Scores, columns_of, quality
from diffsynth.comparison.verdicts import Verdicts, interval
from diffsynth.evaluation.registry import Measure

# The recording is the end of every axis.
DRAWN = {"low_pass": "-.", "another_piano": (0, (8, 2)), "excitation": "--", "ideal_gains": ":"}
MARGIN = 0.06  # of an axis, beyond the perfect value and the worst
NOTHING = Verdicts({}, "")


def plot_rtf(scores: Sequence[Scores]) -> Figure:
    """Real-time factor against block size, one line per model."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    _curves(axes, scores, "rtf", TIMINGS["rtf"])
    axes.axhline(1.0, color="0.5", linestyle="--", linewidth=1, label="real time")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def plot_quality(scores: Sequence[Scores], verdicts: Verdicts = NOTHING) -> Figure:
    """Each quality measure against block size, one panel per measure, one line per model with intervals.

    Straight lines are what nothing learned, right gains and the low anchor get.
    """
    columns = 4
    shown = {key: measure for key, measure in columns_of(scores).items() if key in quality()}
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (key, measure) in zip(panels, shown.items(), strict=False):
        _curves(axes, scores, key, measure, verdicts)
        _hold(axes, [measure.perfect, *(c.values[key] for c in scores if key in c.values)])
    for axes in figure.axes[len(shown) :]:
        axes.remove()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _hold(axes: Axes, values: Sequence[float]) -> None:
    """Make an axis hold these values as well as what is drawn."""
    low, high = axes.get_ylim()
    low, high = min(low, *values), max(high, *values)
    margin = MARGIN * (high - low)
    axes.set_ylim(low - margin * (low == min(values)), high + margin * (high == max(values)))


def _curves(
    axes: Axes, scores: Sequence[Scores], key: str, measure: Measure, verdicts: Verdicts = NOTHING
) -> None:
    found = [(c.model, c.block, c.values[key]) for c in scores if key in c.values]
    points = [(model, block, value) for model, block, value in found if block is not None]
    for model in dict.fromkeys(model for model, _, _ in points):
        own = sorted((block, value) for name, block, value in points if name == model)
        (line,) = axes.plot(*zip(*own, strict=True), marker="o", markersize=4, label=model)
        for score in scores:
            if score.model == model and score.block is not None and verdicts.half(score, key) is not None:
                axes.vlines(score.block, *interval(score, key, verdicts), line.get_color(), alpha=0.4, lw=3)
    for model, block, value in found:
        if block is None and model in DRAWN:
            label = NAMES[model]
            axes.axhline(value, color="0.5", linestyle=DRAWN[model], linewidth=1, label=label)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted({block for _, block, _ in points})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set(title=measure.label, xlabel="block size in samples")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
