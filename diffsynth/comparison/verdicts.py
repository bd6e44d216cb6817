"""Which system is best in each measure, and which cannot be told from it.

Models compete with each other and with the fitted piano alone, so that a model that has learned nothing is
seen as such. What else stands in the table (right gains, low anchors) has intervals, but is no competitor:
its differences from all that compete are corrected together, row by row, and widen no others.
`diffsynth.comparison.statistics` says what the intervals are.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsynth.comparison.statistics import Difference, Drawn, Judged, draw, judge, stacked
from diffsynth.comparison.tables import Scores, finite, measures, quality
from diffsynth.errors import UserError
from diffsynth.runs.files import read_json

SEGMENTS = "segments.json"  # of `evaluate` and `bounds`
PIANO, ANOTHER = "excitation", "another_piano"
DIGITS = 5  # significant
HEADER = ["measure", "model", "block", "value", "half", "best", "like_best"]
HEADER += ["behind_best", "behind_best_margin", "behind_piano", "behind_piano_margin"]

System = tuple[str, int | None]  # model and block
Segments = Mapping[str, Mapping[str, Sequence[float]]]  # by performance and metric


@dataclass(frozen=True)
class Verdict:
    """What can be said of one measure.

    Attributes:
        half: half the width of the 95 % interval of each system's mean.
        rivals: systems that are judged against each other.
        differences: how much worse the first of two systems is, of which at least one is a rival.
        best: the rival with the best value in the table, but for the piano alone.
    """

    half: dict[System, float]
    rivals: list[System]
    differences: dict[tuple[System, System], Difference]
    best: System

    def behind(self, system: System, other: System) -> Difference | None:
        """How much worse a system is than another; None unless one is a rival and both have segments."""
        return self.differences.get((system, other))

    def like_best(self, system: System) -> bool:
        """Whether a rival, itself not the best, cannot be told from it."""
        return system in self.rivals and system != self.best and not self.differences[system, self.best].told


@dataclass(frozen=True)
class Verdicts:
    """Verdicts by measure, and what was drawn for them, in words; none where nothing can be said."""

    by_measure: dict[str, Verdict]
    drawn: str

    def half(self, score: Scores, key: str) -> float | None:
        """Half the width of an interval; None if there is none."""
        verdict = self.by_measure.get(key)
        return verdict.half.get(score.system) if verdict else None

    def mark(self, score: Scores, key: str) -> str:
        """`best`, `like best`, or nothing."""
        verdict = self.by_measure.get(key)
        if verdict is None:
            return ""
        return (
            "best" if score.system == verdict.best else "like best" if verdict.like_best(score.system) else ""
        )


def read_segments(path: str | Path) -> Segments:
    """What was measured of segments.

    Raises:
        UserError: the file is missing or holds something else.
    """
    content = read_json(path)
    try:
        found = {
            str(name): {str(key): [finite(v) for v in values] for key, values in scores.items()}
            for name, scores in content["performances"].items()
        }
        if not all(map(_whole, found.values())):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} holds no metrics of segments; run `diffsynth evaluate` again") from error
    return found


def _whole(scores: Mapping[str, Sequence[float]]) -> bool:
    """Whether every metric has a value of every segment, of which there are some."""
    return all(scores.values()) and len({len(values) for values in scores.values()}) == 1


def verdicts(scores: Sequence[Scores], segments: Mapping[System, Segments]) -> Verdicts:
    """What can be said of systems whose segments are known.

    Args:
        scores: rows of the table; those without segments are left out.
        segments: by system.

    Raises:
        UserError: systems were measured on different segments, or a measure in the table lacks them.
    """
    known = [score for score in scores if score.system in segments]
    for score in known:
        _check_measures(score, segments[score.system])
    lengths = _lengths(known, segments)
    drawn = draw(lengths) if lengths else None
    if drawn is None:
        return Verdicts({}, "")
    found = {
        key: _verdict(key, [score for score in known if key in score.values], segments, drawn)
        for key in quality()
    }
    return Verdicts({key: verdict for key, verdict in found.items() if verdict}, drawn.what)


def interval(score: Scores, key: str, found: Verdicts) -> tuple[float, float]:
    """Ends of an interval, which does not go beyond the perfect value; the value twice if there is none."""
    measure, value, half = measures()[key], score.values[key], found.half(score, key) or 0.0
    low, high = value - half, value + half
    if measure.higher_is_better is None:
        return low, high
    if measure.higher_is_better:
        return low, max(value, min(high, measure.perfect))
    return min(value, max(low, measure.perfect)), high


def to_intervals(scores: Sequence[Scores], found: Verdicts) -> str:
    """All intervals as CSV: one row per measure and system, differences in the direction that is worse."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    for key, verdict in found.by_measure.items():
        for score in scores:
            if score.system in verdict.half:
                writer.writerow(_row(key, score, verdict))
    return file.getvalue()


def _row(key: str, score: Scores, verdict: Verdict) -> list[object]:
    cells: list[object] = [key, *score.system, score.values[key], _digits(verdict.half[score.system])]
    cells += [int(score.system == verdict.best), int(verdict.like_best(score.system))]
    for other in (verdict.best, (PIANO, None)):
        behind = verdict.behind(score.system, other)
        cells += ["", ""] if behind is None else [_digits(behind.value), _digits(behind.high - behind.value)]
    return cells


def _digits(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _lengths(known: Sequence[Scores], segments: Mapping[System, Segments]) -> list[int]:
    """Segments of each performance, in the order of names; the same for all systems."""
    found = [
        {name: len(next(iter(scores.values()))) for name, scores in segments[score.system].items()}
        for score in known
    ]
    for score, own in zip(known, found, strict=True):
        if own != found[0]:
            raise UserError(
                f"{score.label} and {known[0].label} were measured on different segments; "
                "run `diffsynth evaluate` and `diffsynth bounds` again"
            )
    return [found[0][name] for name in sorted(found[0])] if found else []


def _check_measures(score: Scores, segments: Segments) -> None:
    """Refuse segments that lack a measure of their report."""
    for key in quality().keys() & score.values.keys():
        if not all(key in own for own in segments.values()):
            command = "evaluate" if score.competes else "bounds"
            raise UserError(
                f"{score.label} has {key}, and its segments have none; run `diffsynth {command}` again"
            )


def _verdict(
    key: str, known: Sequence[Scores], segments: Mapping[System, Segments], drawn: Drawn
) -> Verdict | None:
    """Of one measure; None where nothing competes."""
    measure = quality()[key]
    models = [score for score in known if score.competes]
    if not models:
        return None
    rivals = [score for score in known if score.competes or score.model == PIANO]

    def judged(systems: Sequence[Scores], together: int | None = None) -> Judged:
        values = [{name: own[key] for name, own in segments[s.system].items()} for s in systems]
        return judge(stacked(values), drawn, measure.higher_is_better, together)

    half = dict(zip((s.system for s in known), judged(known).half.tolist(), strict=True))
    differences = _differences(rivals, judged(rivals))
    for bound in (score for score in known if score not in rivals):
        beside = [*rivals, bound]  # all rivals, because the best of them is chosen by looking
        found = _differences(beside, judged(beside, len(rivals)))
        differences |= {pair: found[pair] for pair in found if bound.system in pair}
    distance = [abs(score.values[key] - measure.perfect) for score in models]
    best = models[int(np.argmin(distance))].system
    return Verdict(half, [score.system for score in rivals], differences, best)


def _differences(systems: Sequence[Scores], judged: Judged) -> dict[tuple[System, System], Difference]:
    """Of all pairs, in both directions."""
    return {
        (first.system, second.system): judged.difference(i, j)
        for i, first in enumerate(systems)
        for j, second in enumerate(systems)
    }
