"""Models and block sizes side by side: a table, and the numbers of curves over the block size.

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
from statistics import median
from typing import TYPE_CHECKING, Any

from diffsynth.errors import UserError
from diffsynth.evaluation.registry import METRICS, Measure, Metric
from diffsynth.runs.files import read_json

if TYPE_CHECKING:
    from diffsynth.comparison.verdicts import Verdicts

# Rows around the models.
ABOVE, BELOW = ("low_pass", "another_piano", "excitation"), ("ideal_gains", "recording")
NAMES = {
    "low_pass": "low-pass 3.5 kHz",
    "another_piano": "another piano",
    "excitation": "piano alone",
    "ideal_gains": "right gains",
}
SHORT = {
    "onset_f1": "F1",
    "pitch_accuracy": "pitch",
    "polyphony_accuracy": "poly",
    "spectral_convergence": "SC",
    "log_spectral_distance": "LSD",
    "log_mel_db": "mel",
    "quiet_floor_db": "quiet",
    "zimtohrli": "Zim",
    "rtf": "RTF",
    "p99_ms": "p99",
}
MARKS = {"best": "**{}**", "like best": "≈{}", "": "{}"}
TIMINGS = {
    "rtf": Measure("RTF", "Real-time factor", "", False),
    "p50_ms": Measure("p50 ms", "Median time per block", "ms", False),
    "p99_ms": Measure("p99 ms", "99th percentile of the time per block", "ms", False),
}
BESIDES = {  # of the benchmark
    "latency_ms": Measure("latency ms", "Delay from a key to the sound", "ms", False),
    "offset_ms": Measure("late ms", "Later than the recording, removed", "ms", None),
}


def quality() -> dict[str, Measure]:
    """What models are compared by, but for their speed."""
    return {key: metric for key, metric in METRICS.items() if metric.compared}


def measures() -> dict[str, Measure]:
    """What `compare` reads, by key."""
    return quality() | TIMINGS


@dataclass(frozen=True)
class Scores:
    """What was measured of `model` at `block` samples (None: it has none), by key of the measure.

    `offline`: a system that has no blocks and yet competes with models.
    """

    model: str
    block: int | None
    values: dict[str, float]
    offline: bool = False

    @property
    def competes(self) -> bool:
        """Whether it is compared with others, and not one of what they lie between."""
        return self.block is not None or self.offline

    @property
    def system(self) -> tuple[str, int | None]:
        """Model and block."""
        return self.model, self.block

    @property
    def key(self) -> str:
        """The name of a file about it, and its key in the report."""
        return self.model if self.block is None else f"{self.model}-{self.block}"

    @property
    def label(self) -> str:
        """A name for people."""
        return NAMES.get(self.model, self.model) if self.block is None else f"{self.model}-{self.block}"


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
        return Scores(model, block, values | {key: finite(content[key]) for key in TIMINGS})


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
    return {key: finite(metrics[key]) for key in asked if key in metrics or METRICS[key].package is None}


def finite(value: Any) -> float:
    """A number of a report.

    Raises:
        TypeError: it is none.
        ValueError: likewise, or it is not finite.
    """
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{found} cannot be compared")
    return found


def columns_of(scores: Iterable[Scores]) -> dict[str, Measure]:
    """The measures that some score holds, by key."""
    held = {key for score in scores for key in score.values}
    return {key: measure for key, measure in (measures() | BESIDES).items() if key in held}


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


def to_rows(scores: Sequence[Scores]) -> dict[str, dict[str, float]]:
    """What `dvc metrics` shows: by label of a row, the measures of `SHORT` under short names, three digits.

    So a row fits a terminal, and a difference that `dvc metrics diff` lists is one of a thousandth at least.
    """
    return {
        score.key: {
            name: float(f"{score.values[key]:.3g}") for key, name in SHORT.items() if key in score.values
        }
        for score in scores
    }


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


def to_markdown(scores: Sequence[Scores], verdicts: "Verdicts | None" = None) -> str:
    """The table for people, three decimals, columns aligned; it leaves some measures out (`in_table`).

    With verdicts, the best of a column is bold, what cannot be told from it has a ≈, a last row has the
    median of their intervals, and a line says what they are.
    """
    columns = {
        key: measure.heading
        for key, measure in columns_of(scores).items()
        if not isinstance(measure, Metric) or measure.in_table
    }
    rows = [["model", "block", *columns.values()]]
    rows += [[c.model, _cell(c.block), *(_marked(c, key, verdicts) for key in columns)] for c in scores]
    if verdicts is not None and verdicts.drawn:
        rows.append(["± (95 %)", "", *(number(_typical(scores, key, verdicts)) for key in columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # The model is text and stands on the left; numbers stand on the right.
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_markdown_row(row, widths) for row in (rows[0], rule, *rows[1:])]
    return "".join(
        [*lines, *(["\n", legend(scores, verdicts)] if verdicts is not None and verdicts.drawn else [])]
    )


def noun(scores: Iterable[Scores]) -> str:
    """What the rows that compete are called: models, unless others are among them."""
    return "system" if any(score.offline for score in scores) else "model"


def legend(scores: Iterable[Scores], verdicts: "Verdicts") -> str:
    """What the marks and intervals are, in a line."""
    return (
        f"Bold: the best {noun(scores)}; ≈: cannot be told from it at 95 %, all pairs of a column taken "
        f"together. Drawn: {verdicts.drawn}.\n"
    )


def _marked(score: Scores, key: str, verdicts: "Verdicts | None") -> str:
    """A number with its mark."""
    mark = verdicts.mark(score, key) if verdicts is not None else ""
    return MARKS[mark].format(number(score.values.get(key)))


def _typical(scores: Sequence[Scores], key: str, verdicts: "Verdicts") -> float | None:
    """Median over what competes of half the width of their intervals."""
    found = [verdicts.half(score, key) for score in scores if score.competes]
    known = [half for half in found if half is not None]
    return median(known) if known else None


def _cell(value: int | None) -> str:
    return "" if value is None else str(value)


def number(value: float | None) -> str:
    """Three decimals, or two digits and an exponent where those would be zeros; nothing for None."""
    if value is None:
        return ""
    return f"{value:.1e}" if 0 < abs(value) < 0.01 else f"{value:.3f}"


def _markdown_row(row: list[str], widths: list[int]) -> str:
    numbers = (score.rjust(width) for score, width in zip(row[1:], widths[1:], strict=True))
    return f"| {' | '.join([row[0].ljust(widths[0]), *numbers])} |\n"


def _csv(header: list[str], rows: Iterable[list[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return file.getvalue()
