"""The report of the align stage: one table, one plot."""

import csv
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from diffsynth.alignment.performances import Entry
from diffsynth.runs.files import atomic_path

# Field of `Entry`, factor and label of the plots.
PLOTTED = (
    ("offset", 1000, "offset (ms)"),
    ("drift", 1, "drift (ppm)"),
    ("residual_ms", 1, "residual (ms)"),
    ("confidence", 1, "confidence"),
    ("rms_dbfs", 1, "RMS (dBFS)"),
    ("trimmed_end", 1, "trimmed at the end (s)"),
    ("tuning_cents", 1, "A4 above 440 Hz (cents)"),
    ("stretch_cents", 1, "stretch (cents per octave)"),
)


def write_report(entries: Sequence[Entry], folder: Path) -> None:
    """Write `report.csv`, one row per performance, and `report.png` into a folder."""
    with atomic_path(folder / "report.csv") as path, path.open("w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(entries[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(entry) for entry in entries)
    with atomic_path(folder / "report.png") as path, warnings.catch_warnings():
        # Names may be in scripts that the font lacks; it shows a box for each letter.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        _figure(entries).savefig(path, dpi=100, metadata={"Software": None})


def _figure(entries: Sequence[Entry]) -> Figure:
    """Clock, levels and tuning of every performance; rejected ones are crosses."""
    figure = Figure(figsize=(12, 10), layout="constrained")
    axes = figure.subplots(4, 2, sharex=True).ravel()
    place = np.arange(len(entries))
    good = np.array([entry.status == "ok" for entry in entries])
    for axis, (name, scale, label) in zip(axes, PLOTTED, strict=True):
        values = scale * np.array([getattr(entry, name) for entry in entries], dtype=float)
        axis.plot(place[good], values[good], "o", color="tab:blue", label="aligned")
        axis.plot(place[~good], values[~good], "x", color="tab:red", label="rejected")
        axis.set(ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    if len(entries) <= 40:
        for axis in axes[-2:]:
            axis.set_xticks(place, [entry.name for entry in entries], rotation=60, ha="right", fontsize=8)
    return figure
