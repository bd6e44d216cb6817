"""A report on a fitted piano: one table row per key, and a picture of all modes."""

import csv
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from diffsynth.midi.events import KEYS, LOWEST_KEY
from diffsynth.midi.pitches import equal_tempered
from diffsynth.piano.piano import Piano
from diffsynth.runs.files import atomic_path

COLUMNS = ("midi", "modes", "loudest_hz", "cents", "level_db", "decay_per_s", "release_per_s", "exponent")


def write_report(piano: Piano, folder: Path) -> None:
    """Write `piano.csv` and `piano.png` into a folder."""
    with atomic_path(folder / "piano.csv") as path, path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_row(piano, key) for key in range(KEYS) if (piano.key == key).any())
    with atomic_path(folder / "piano.png") as path:
        _figure(piano).savefig(path, dpi=110, metadata={"Software": None})


def _row(piano: Piano, key: int) -> list[object]:
    """One key: its loudest mode, and how far its first partial is from equal temperament."""
    mine = np.flatnonzero(piano.key == key)
    loudest = mine[np.argmax(np.abs(piano.amplitude[mine]))]
    nominal = float(equal_tempered(key))
    first = mine[np.argmin(np.abs(np.log(piano.frequency[mine] / nominal)))]
    return [
        key + LOWEST_KEY,
        len(mine),
        round(piano.frequency[loudest], 2),
        round(1200 * float(np.log2(piano.frequency[first] / nominal)), 1),
        round(20 * float(np.log10(np.abs(piano.amplitude[loudest]))), 1),
        round(piano.decay[loudest], 2),
        round(piano.release[key], 1),
        round(piano.exponent[key], 2),
    ]


def _figure(piano: Piano) -> Figure:
    """Modes by key and frequency, coloured by level; decays; releases and velocity exponents."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    modes, decays, keys = figure.subplots(3, 1, sharex=True, height_ratios=[3, 2, 1.2])
    midi, level = piano.key + LOWEST_KEY, 20 * np.log10(np.abs(piano.amplitude))
    for axis, value, label in (
        (modes, piano.frequency, "frequency (Hz)"),
        (decays, piano.decay, "decay (1/s)"),
    ):
        points = axis.scatter(midi, value, c=level, s=5, cmap="magma", vmin=-90, vmax=-20)
        axis.set(yscale="log", ylabel=label)
        figure.colorbar(points, ax=axis, label="level (dB)")
    numbers = np.arange(KEYS) + LOWEST_KEY
    keys.plot(numbers, piano.release, label="release (1/s)")
    keys.plot(numbers, 10 * piano.exponent, label="10 x velocity exponent")
    keys.set(xlabel="key (MIDI number)")
    keys.legend(loc="upper right")
    return figure
