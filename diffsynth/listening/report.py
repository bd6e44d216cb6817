"""Tables and figures of a listening test."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffsynth.listening.clips import REFERENCE
from diffsynth.listening.design import MOS, SCALES, WORDS
from diffsynth.listening.statistics import Mean, Rating, Test
from diffsynth.listening.stimuli import ANCHOR
from diffsynth.runs.files import atomic_path

TITLES = {MOS: "mean opinion score", "mushra": "MUSHRA score"}
BOUND, PLAIN = "#8a8478", "#1f5f6b"  # colours of what models lie between, and of the models


def write_results(
    folder: Path, kind: str, rated: Sequence[Rating], means: Sequence[Mean], tests: Sequence[Test]
) -> list[Path]:
    """Write what one part of a test has found; returns the files.

    `KIND.csv` has the means, `KIND-tests.csv` the pairs, `KIND-ratings.csv` every rating in the columns of
    webMUSHRA, and `KIND.png` is the figure.
    """
    texts = {
        f"{kind}.csv": _csv(Mean, means),
        f"{kind}-tests.csv": _csv(Test, tests),
        f"{kind}-ratings.csv": _rating_rows(kind, rated),
    }
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf8")
    with atomic_path(folder / f"{kind}.png") as temporary:
        score_figure(kind, means).savefig(temporary, dpi=150, metadata={"Software": None})
    return [folder / name for name in (*texts, f"{kind}.png")]


def markdown(means: Sequence[Mean], tests: Sequence[Test]) -> str:
    """The means as a table, and below it the systems that cannot be told apart at 5 %."""
    width = max(len("system"), *(len(mean.system) for mean in means))
    lines = [f"| {'system':<{width}} | ratings |   mean | 95 % interval    |"]
    lines.append(f"| :{'-' * (width - 1)} | ------: | -----: | :--------------- |")
    for mean in means:
        interval = f"{mean.low:.2f} to {mean.high:.2f}" if mean.ratings > 1 else ""
        lines.append(f"| {mean.system:<{width}} | {mean.ratings:>7} | {mean.mean:>6.2f} | {interval:<16} |")
    lines.append("")
    equal = [f"{test.first} and {test.second}" for test in tests if test.p_holm >= 0.05]
    told = (
        "not told apart at 5 %: " + "; ".join(equal) if equal else "every two systems are told apart at 5 %"
    )
    return "\n".join([*lines, told, ""])


def score_figure(kind: str, means: Sequence[Mean]) -> Figure:
    """Mean and interval of every system over the whole scale, as mean opinion scores are published."""
    low, high = SCALES[kind]
    figure = Figure(figsize=(max(4.5, 1.2 + 0.75 * len(means)), 4.2), layout="constrained")
    axes = figure.subplots()
    for place, mean in enumerate(means):
        colour = BOUND if mean.system in (REFERENCE, ANCHOR) else PLAIN
        half = [[mean.mean - mean.low], [mean.high - mean.mean]]
        axes.errorbar(
            place, mean.mean, half, color=colour, marker="o", markersize=7, capsize=5, linewidth=1.6
        )
        axes.annotate(
            f"{mean.mean:.2f}" if kind == MOS else f"{mean.mean:.0f}",
            (place, mean.mean),
            (9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colour,
        )
    axes.set_xticks(range(len(means)), [mean.system for mean in means], rotation=35, ha="right")
    axes.set_xlim(-0.6 if kind == MOS else -1.1, len(means) - 0.2)
    _scale(axes, kind, low, high)
    counts = sorted({mean.ratings for mean in means})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    axes.set_title(f"{TITLES[kind]}, 95 % confidence, {number} ratings each", loc="left", fontsize=10)
    return figure


def _scale(axes: Axes, kind: str, low: int, high: int) -> None:
    """The whole scale with its words, so that small differences look small."""
    margin = 0.02 * (high - low)
    axes.set_ylim(low - margin, high + 3 * margin)
    if kind == MOS:
        axes.set_yticks(range(low, high + 1), [f"{word} {n}" for n, word in enumerate(WORDS, 1)])
    else:
        axes.set_yticks(range(low, high + 1, 20))
        for number, word in enumerate(WORDS):
            axes.text(-1.05, 20 * number + 10, word, fontsize=8, color=BOUND, va="center", alpha=0.8)
    axes.grid(axis="y", alpha=0.35)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _csv(kind: type[Any], rows: Iterable[Any]) -> str:
    names = [field.name for field in fields(kind)]
    return _table(names, ([_short(value) for value in asdict(row).values()] for row in rows))


def _rating_rows(kind: str, rated: Sequence[Rating]) -> str:
    """Columns of webMUSHRA's results, where the hidden reference is called `reference`."""
    names = ["session_test_id", "participant", "trial_id", "rating_stimulus", "rating_score"]
    rows = (
        [
            kind,
            each.participant,
            each.clip,
            "reference" if each.system == REFERENCE else each.system,
            each.value,
        ]
        for each in rated
    )
    return _table(names, rows)


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return buffer.getvalue()


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
