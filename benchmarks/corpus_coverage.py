"""Does the training music cover real performances? Their statistics side by side.

    python benchmarks/corpus_coverage.py FOLDER [--hours 5] [--plot FILE.png]

Compares the performances that `dataset.name: rendered` would render for training with the MIDI files of
FOLDER, which nothing is trained on: percentiles of every statistic of `performance_statistics`, the
share of real values between the 1st and the 99th percentile of training, and the share of real windows
whose cell in several statistics at once is held by training. Nothing is rendered.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from performance_statistics import WINDOW, Statistics
from playing_coverage import JOINT, collect, compare, joint_coverage, table

from diffsynth.datasets.composer.corpus import generated_jobs
from diffsynth.datasets.soundfont import snap
from diffsynth.midi.files import read_midi
from diffsynth.runs.files import atomic_path

# What the figure shows: title, and the edges of the bars.
SHOWN = {
    "onset_rate": ("onsets per second", np.arange(0, 46, 2)),
    "sounding": ("keys ringing, with dampers and pedals", np.arange(0, 42, 2)),
    "held": ("keys held", np.arange(0, 13, 0.5)),
    "single_velocity": ("velocity of single notes", np.arange(0, 130, 4)),
    "velocity": ("mean velocity", np.arange(0, 130, 4)),
    "chord_spread": ("velocity spread within chords", np.arange(0, 70, 3)),
    "single_key": ("key (MIDI)", np.arange(21, 110, 3)),
    "pedal": ("share of time with sustain pedal", np.linspace(0, 1, 21)),
    "pedal_value": ("positions of the sustain pedal", np.arange(0, 130, 4)),
    "pedal_hold": ("sustain pedal held (s)", np.geomspace(0.02, 40, 25)),
    "repetition": ("a key struck again after (s)", np.geomspace(0.03, 60, 25)),
    "note_length": ("key held (s)", np.geomspace(0.01, 20, 25)),
    "pedal_half": ("share of time with it half way", np.linspace(0, 1, 21)),
    "gap": ("from one onset to the next (s)", np.geomspace(0.002, 20, 25)),
    "silence": ("longest time without an onset (s)", np.geomspace(0.03, 30, 25)),
}
SHARE = 0.1  # of validation and of test
COLOURS = {"real performances": "#d1495b", "training": "#30638e"}


def draw(statistics: dict[str, Statistics]) -> Figure:
    """Distributions over each other, as shares of all values."""
    figure = Figure(figsize=(15, 8.5), layout="constrained")
    axes = figure.subplots(3, 5).ravel()
    for axis, (name, (title, edges)) in zip(axes, SHOWN.items(), strict=True):
        for label, of in statistics.items():
            values = of[name][np.isfinite(of[name])]
            shares = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
            axis.stairs(100 * shares, edges, color=COLOURS[label], fill=True, alpha=0.25)
            axis.stairs(100 * shares, edges, color=COLOURS[label], linewidth=1.5, label=label)
        axis.set_title(title, fontsize=10)
        axis.set_xscale("log" if edges[0] and edges[1] / edges[0] > 1.2 else "linear")
        axis.set_ylim(0)
        axis.tick_params(labelsize=8)
    axes[0].legend(fontsize=9)
    for axis in axes[::5]:
        axis.set_ylabel("% of values", fontsize=9)
    return figure


def main() -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="of MIDI files")
    parser.add_argument("--hours", type=float, default=5.0, help="of training music")
    parser.add_argument("--seed", type=int, default=0, help="dataset.seed")
    parser.add_argument("--window", type=float, default=WINDOW, help="seconds")
    parser.add_argument("--plot", type=Path, help="PNG file for the distributions")
    given = parser.parse_args()
    corpus = generated_jobs(60 * given.hours, SHARE, SHARE, given.seed)
    jobs = [snap(job.events) for job in corpus if job.split == "train"]
    real = collect([snap(read_midi(path)) for path in sorted(given.folder.glob("*.mid"))], given.window)
    training = collect(jobs, given.window)
    counts = (
        f"{len(real[0]['pedal'])} real windows of {given.window:g} s, {len(training[0]['pedal'])} of training"
    )
    print(f"{counts}.\n")
    rows = compare(real[0], training[0]) + compare(real[1], training[1])
    print(table(rows, [(names, joint_coverage(real[0], training[0], names)) for names in JOINT]))
    if given.plot:
        figure = draw(
            {"real performances": {**real[0], **real[1]}, "training": {**training[0], **training[1]}}
        )
        with atomic_path(given.plot) as temporary:
            figure.savefig(temporary, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
