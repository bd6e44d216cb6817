"""The report of a transcription: a table of recordings, a table of keys, a plot of both, and a summary."""

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diffsynth.midi.events import KEYS, LOWEST_KEY
from diffsynth.runs.files import atomic_path
from diffsynth.transcription.confidence import Entry, Key, together
from diffsynth.transcription.recordings import Written

FEW = 10  # notes of a key below which its sound is measured from little
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def write_report(written: Sequence[Written], folder: Path) -> None:
    """Write `report.csv`, a row for each recording, `keys.csv`, a row for each key, and `report.png`."""
    entries = [each.entry for each in written]
    keys = all_keys(written)
    _write_table(folder / "report.csv", entries)
    _write_table(folder / "keys.csv", keys)
    with atomic_path(folder / "report.png") as path:
        _figure(entries, keys).savefig(path, dpi=100, metadata={"Software": None})


def all_keys(written: Sequence[Written]) -> list[Key]:
    """All 88 keys, with their notes in all recordings."""
    return together([key for each in written for key in each.keys])


def line_of(entry: Entry) -> str:
    """What is known of a recording, as one line."""
    return (
        f"{entry.name}: {entry.notes} notes of {entry.keys} keys in {entry.duration:.0f} s, "
        f"{entry.sure:.1%} sure, {entry.missed:.1%} missed, {entry.heard:.0%} heard"
    )


def line_of_keys(keys: Sequence[Key]) -> str:
    """Which of all keys have few notes or none, as one line."""
    many = sum(key.notes >= FEW for key in keys)
    few = _ranges([key.key for key in keys if 0 < key.notes < FEW])
    none = _ranges([key.key for key in keys if not key.notes])
    parts = [f"{many} keys with {FEW} notes or more", f"fewer: {few}", f"none: {none}"]
    return "; ".join(parts)


def _ranges(numbers: Sequence[int]) -> str:
    """MIDI numbers as names of notes, neighbours as ranges."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(_name(a) if a == b else f"{_name(a)} to {_name(b)}" for a, b in runs) or "-"


def _name(number: int) -> str:
    return f"{NAMES[number % 12]}{number // 12 - 1}"


def _write_table(path: Path, rows: Sequence[Any]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _figure(entries: Sequence[Entry], keys: Sequence[Key]) -> Figure:
    """Above how sure each recording's notes are, below how many notes each key has."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1)
    place = np.arange(len(entries))
    for name in ("sure", "heard", "missed"):
        upper.plot(place, [getattr(entry, name) for entry in entries], "o", label=name)
    upper.set(ylabel="share", xlabel="recording", ylim=(-0.02, 1.02))
    upper.grid(alpha=0.3)
    upper.legend()
    lower.bar(np.arange(KEYS) + LOWEST_KEY, [key.notes for key in keys], color="tab:blue")
    lower.axhline(FEW, color="tab:red", linewidth=1, label="few")
    lower.set(ylabel="notes", xlabel="key (MIDI number)", yscale="symlog")
    lower.legend()
    return figure
