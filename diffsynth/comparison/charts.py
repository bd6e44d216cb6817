"""The curves of the report as Vega-Lite charts; how they look is left to the page, which knows the theme."""

from collections.abc import Sequence
from typing import Any

from diffsynth.comparison.tables import Scores, columns_of, quality
from diffsynth.comparison.verdicts import Verdicts, interval
from diffsynth.evaluation.registry import Measure

SHIFT = 1.07  # from one model to the next, times a block size
TINY = 1e-3  # the end of an axis below which its numbers have exponents
PADDING = 0.05  # of an axis, beyond the best and the worst
DASHES: dict[str, list[float]] = {
    "low_pass": [8, 3, 2, 3],
    "another_piano": [14, 3],
    "excitation": [6, 3],
    "ideal_gains": [1.5, 3],
}
# Of systems without blocks, in turn.
OTHERS: tuple[list[float], ...] = ([10, 5], [3, 3], [12, 3, 3, 3, 3, 3], [1, 5])
REAL_TIME = [4, 4]


def chart(key: str, measure: Measure, scores: Sequence[Scores], verdicts: Verdicts) -> dict[str, Any]:
    """One measure over the block size: a line per model with 95 % intervals, a level line per bound.

    The axis holds the perfect value; that of speed holds 0 and real time.
    """
    held = [score for score in scores if key in score.values]
    models = _apart([_point(score, key, verdicts) for score in held if score.block is not None])
    known = dashes(scores)
    levels: list[dict[str, Any]] = [
        {"name": score.label, "value": score.values[key], "dash": known[score.key]}
        for score in held
        if score.key in known
    ]
    if key == "rtf":
        levels.append({"name": "real time", "value": 1.0, "dash": REAL_TIME})
    others = [float(level["value"]) for level in levels]
    domain = _domain(measure, models, others)
    layers = [_rule(level) for level in levels] + [_intervals(models), _lines(models, domain, measure)]
    return {"width": "container", "height": 140, "layer": layers}


def charts(scores: Sequence[Scores], verdicts: Verdicts) -> list[dict[str, Any]]:
    """What the page needs of every chart: its title, a description in words, and its specification."""
    shown = {key: m for key, m in columns_of(scores).items() if key in quality() or key == "rtf"}
    return [
        {
            "key": key,
            "title": measure.label,
            "text": _words(key, scores),
            "spec": chart(key, measure, scores, verdicts),
        }
        for key, measure in shown.items()
    ]


def dashes(scores: Sequence[Scores]) -> dict[str, list[float]]:
    """Dashes of the level lines, by key of a score: of bounds, and of systems without blocks."""
    level = [score for score in scores if score.block is None]
    others = [score.key for score in level if score.competes]
    bounds = {score.key: DASHES[score.model] for score in level if score.model in DASHES}
    return bounds | {key: OTHERS[number % len(OTHERS)] for number, key in enumerate(others)}


def _point(score: Scores, key: str, verdicts: Verdicts) -> dict[str, Any]:
    low, high = interval(score, key, verdicts)
    return {"model": score.model, "block": score.block, "value": score.values[key], "low": low, "high": high}


def _apart(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points with a place `x` beside their block size, so that intervals of models do not hide each other."""
    names = list(dict.fromkeys(point["model"] for point in points))
    middle = (len(names) - 1) / 2
    return [{**p, "x": round(p["block"] * SHIFT ** (names.index(p["model"]) - middle), 1)} for p in points]


def _domain(measure: Measure, points: Sequence[dict[str, Any]], others: Sequence[float]) -> list[float]:
    """Ends of the axis."""
    values: list[float] = [
        measure.perfect,
        *others,
        *(point[end] for point in points for end in ("low", "high")),
    ]
    low, high = min(values), max(values)
    margin = PADDING * (high - low or 1.0)
    # Nothing lies beyond the perfect value, so the axis ends with it.
    return [
        low if low == measure.perfect else low - margin,
        high if high == measure.perfect else high + margin,
    ]


def _rule(level: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": {"values": [level]},
        "mark": {"type": "rule", "strokeDash": level["dash"], "strokeWidth": 1.5, "aria": False},
        "encoding": {"y": {"field": "value", "type": "quantitative"}},
    }


def _x(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    blocks = sorted({point["block"] for point in points})
    return {
        "field": "x",
        "type": "quantitative",
        "scale": {"type": "log", "base": 2, "nice": False, "padding": 14},
        "axis": {"values": blocks, "format": "d", "title": None},
    }


def _colour(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(point["model"] for point in points))
    return {"field": "model", "type": "nominal", "scale": {"domain": names}, "legend": None}


def _intervals(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "data": {"values": list(points)},
        "mark": {"type": "rule", "strokeWidth": 4, "opacity": 0.35, "aria": False},
        "encoding": {
            "x": _x(points),
            "y": {"field": "low", "type": "quantitative"},
            "y2": {"field": "high"},
            "color": _colour(points),
        },
    }


def _lines(points: Sequence[dict[str, Any]], domain: list[float], measure: Measure) -> dict[str, Any]:
    value = {"field": "value", "type": "quantitative", "title": measure.title, "format": ".4~r"}
    shown = [{"field": "model"}, {"field": "block"}, value]
    return {
        "data": {"values": list(points)},
        "mark": {"type": "line", "point": {"size": 45, "filled": True}, "aria": False},
        "encoding": {
            "x": _x(points),
            "y": {
                "field": "value",
                "type": "quantitative",
                "scale": {"domain": domain, "nice": False, "zero": False},
                "axis": {"title": None, "tickCount": 4, "format": "~e" if domain[1] < TINY else "~g"},
            },
            "color": _colour(points),
            "shape": {**_colour(points)},
            "tooltip": shown,
        },
    }


def _words(key: str, scores: Sequence[Scores]) -> str:
    """The numbers of a chart in a sentence, for who does not see it."""
    parts = [f"{score.label} {score.values[key]:.4g}" for score in scores if key in score.values]
    return "; ".join(parts)
