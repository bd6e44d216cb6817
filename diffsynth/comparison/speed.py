"""The picture of a benchmark: real-time factors against block sizes, as published."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter


def rtf_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """One panel per sample rate and number of threads, one line per model and backend."""
    panels = sorted({(row["sample_rate"], row["threads"]) for row in rows})
    lines = sorted({(row["model"], row["backend"]) for row in rows})
    blocks = sorted({row["block"] for row in rows})
    figure = Figure(figsize=(1 + 3.5 * len(panels), 4), layout="constrained")
    for axes, panel in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
    ):
        for line in lines:
            points = [
                (row["block"], row["rtf"])
                for row in rows
                if (row["sample_rate"], row["threads"]) == panel and (row["model"], row["backend"]) == line
            ]
            axes.plot(*zip(*sorted(points), strict=True), marker="o", markersize=4, label=" ".join(line))
        axes.axhline(1.0, color="0.5", linestyle="--", linewidth=1, label="real time")
        axes.set(xscale="log", yscale="log", xlabel="block size in samples")
        axes.set_title(f"{panel[0] / 1000:g} kHz, {panel[1]} thread{'s' if panel[1] > 1 else ''}")
        axes.xaxis.set_major_locator(FixedLocator(blocks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("real-time factor")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure
