"""Does music for training hold what real performances ask for? One statistic at a time, and jointly."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from performance_statistics import Array, Statistics, occurrences, windows

from diffsynth.midi.events import Events

PERCENTILES = (1, 50, 99)
FEWEST = 3  # windows of training music in a cell, for it to count as covered

# Edges of the cells of joint statistics; NaN, no onset at all, is a bin of its own.
_BINS = {
    "onset_rate": (0.1, 2, 4, 8, 12, 16, 24),
    "velocity": (20, 35, 50, 65, 80, 95),
    "velocity_softest": (10, 20, 35, 50, 65, 80),
    "velocity_loudest": (20, 35, 50, 65, 80, 95, 110),
    "pedal": (0.05, 0.35, 0.65, 0.95),
    "sounding": (0.5, 2, 4, 8, 12, 16, 24),
    "key": (45, 55, 65, 75, 85),
    "key_lowest": (28, 36, 48, 60),
    "key_highest": (60, 72, 84, 96),
    "silence": (0.5, 1, 2, 4, 8),
}
JOINT = (
    ("onset_rate", "velocity", "pedal"),
    ("onset_rate", "sounding", "key"),
    ("sounding", "velocity_softest", "velocity_loudest"),
    ("key_lowest", "key_highest", "velocity"),
    ("silence", "sounding", "pedal"),
)


@dataclass(frozen=True)
class Row:
    """One statistic of real music and of training music.

    Attributes:
        name: of the statistic.
        real: its `PERCENTILES` in real performances.
        training: likewise in the training music.
        within: share of real values from the 1st to the 99th percentile of training; .98 if both
            are distributed alike.
    """

    name: str
    real: tuple[float, ...]
    training: tuple[float, ...]
    within: float


def collect(performances: Iterable[Events], length: float) -> tuple[Statistics, Statistics]:
    """Statistics of all windows of `length` seconds, and of all occurrences, of several performances."""
    of_windows, of_single = [], []
    for events in performances:
        of_windows.append(windows(events, length))
        of_single.append(occurrences(events))
    return _joined(of_windows), _joined(of_single)


def compare(real: Statistics, training: Statistics) -> list[Row]:
    """A row for every statistic; values that are not numbers are left out."""
    rows = []
    for name in real:
        a, b = (values[np.isfinite(values)] for values in (real[name], training[name]))
        low, _, high = percentiles = _percentiles(b)
        rows.append(Row(name, _percentiles(a), percentiles, float(np.mean((a >= low) & (a <= high)))))
    return rows


def joint_coverage(real: Statistics, training: Statistics, names: Sequence[str]) -> float:
    """Share of real windows whose cell of these statistics holds `FEWEST` training windows or more."""
    counts: dict[tuple[int, ...], int] = {}
    for cell in _cells(training, names):
        counts[cell] = counts.get(cell, 0) + 1
    cells = _cells(real, names)
    return sum(counts.get(cell, 0) >= FEWEST for cell in cells) / len(cells)


def table(rows: Sequence[Row], joint: Sequence[tuple[Sequence[str], float]]) -> str:
    """Both as Markdown."""
    lines = [
        "| | real 1 % | 50 % | 99 % | training 1 % | 50 % | 99 % | real within 1 to 99 % |",
        "|---" + "|---:" * 7 + "|",
    ]
    for row in rows:
        numbers = " | ".join(f"{value:.3g}" for value in (*row.real, *row.training))
        lines.append(f"| {_words(row.name)} | {numbers} | {row.within:.1%} |")
    lines += ["", "| jointly | real windows in a cell that training holds |", "|---|---:|"]
    lines += [f"| {' x '.join(map(_words, names))} | {share:.1%} |" for names, share in joint]
    return "\n".join(lines)


def _joined(parts: Sequence[Statistics]) -> Statistics:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _percentiles(values: Array) -> tuple[float, ...]:
    return tuple(np.percentile(values, PERCENTILES).tolist())


def _cells(statistics: Statistics, names: Sequence[str]) -> list[tuple[int, ...]]:
    columns = [np.digitize(statistics[name], _BINS[name]) for name in names]
    for column, name in zip(columns, names, strict=True):
        column[~np.isfinite(statistics[name])] = -1
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _words(name: str) -> str:
    return name.replace("_", " ")
