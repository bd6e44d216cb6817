"""Scores with numbers that tell where they come from, and the files that hold them."""

import json

from diffsynth.comparison.tables import Scores, read_scores

METRICS = [
    "onset_f1",
    "onset_precision",
    "onset_recall",
    "pitch_accuracy",
    "polyphony_accuracy",
    "l1",
    "l2",
    "spectral_convergence",
    "log_spectral_distance",
    "log_mel_db",
    "quiet_floor_db",
    "jumps_per_minute",
    "zimtohrli",
]
TIMINGS = ["rtf", "p50_ms", "p99_ms"]
BLOCKS = (512, 1024, 2048, 4096)
VARIANTS = [(model, block) for model in ("lstm", "s6") for block in BLOCKS]
BOUNDS = ["excitation", "ideal_gains", "recording", "low_pass", "another_piano"]


def values(model, block):
    """Numbers that differ in every score and measure: tenths of a row number and hundredths of a column."""
    row = VARIANTS.index((model, block))
    return {name: round(row / 10 + column / 1000, 6) for column, name in enumerate(METRICS + TIMINGS, 1)}


def bound(name):
    """What is measured of a bound: hundreds of its place and hundredths of a column."""
    place = 100 * BOUNDS.index(name)
    return Scores(name, None, {key: place + column / 100 for column, key in enumerate(METRICS)})


def all_scores():
    """Every row in its place."""
    models = [Scores(model, block, values(model, block)) for model, block in VARIANTS]
    above, below = ("low_pass", "another_piano", "excitation"), ("ideal_gains", "recording")
    return [*map(bound, above), *models, *map(bound, below)]


def report(model, block):
    numbers = values(model, block)
    return {
        "model": model,
        "block": block,
        "sample_rate": 24000,
        "metrics": {name: numbers[name] for name in METRICS},
    }


def write(folder, model, block, content):
    path = folder / str(block) / f"{model}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_all(folder):
    """Reports of all variants and bounds, in `metrics` and `timings` below a folder; returns the first."""
    for model, block in VARIANTS:
        write(folder / "metrics", model, block, report(model, block))
        numbers = values(model, block)
        write(folder / "timings", model, block, {name: numbers[name] for name in TIMINGS})
    for name in BOUNDS:
        write(folder / "metrics", name, "bounds", {"model": name, "metrics": bound(name).values})
    return folder / "metrics"


def lines_of(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


def read(reports, model, block):
    """The score of a variant, from the files of the fixture `reports`."""
    variant = f"{block}/{model}.json"
    return read_scores(reports / variant, reports.parent / "timings" / variant)
