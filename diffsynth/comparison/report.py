"""The comparison as one page that needs nothing else: no network, no server, no other file.

`page/` holds its template, style and script. Sound, levels and Vega lie within the page as text; what is
played is decoded when it is first asked for.
"""

import base64
import functools
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from diffsynth.comparison.charts import charts, dashes
from diffsynth.comparison.clips import RANGE, Clip, band_centres
from diffsynth.comparison.tables import NAMES, Scores, columns_of, legend, noun, quality
from diffsynth.comparison.verdicts import ANOTHER, PIANO, System, Verdict, Verdicts
from diffsynth.evaluation.registry import Metric

VEGA_LITE = "5.21"
SPREAD = 24.0  # dB, of a difference of levels, at which its colours end
TICKS = (200, 1000, 2000, 5000, 10000)  # Hz
KEYS = {"recording": "r", "low_pass": "l", "another_piano": "o", "excitation": "p", "ideal_gains": "g"}
BESIDE = {PIANO: "Beside the piano alone", ANOTHER: "Beside another piano"}  # headings of findings
MAPS = {"levels": "magma", "difference_light": "RdBu_r", "difference_dark": "berlin"}


def to_html(
    scores: Sequence[Scores],
    verdicts: Verdicts,
    clips: Sequence[Clip],
    title: str,
    command: str = "compare",
) -> str:
    """The page.

    Args:
        scores: rows of the table, in order.
        verdicts: their intervals.
        clips: of test performances; none leaves the players out.
        title: of the page.
        command: that writes it.
    """
    models = list(dict.fromkeys(score.model for score in scores if score.block is not None))
    drawn = charts(scores, verdicts) if models else []  # there are curves over block sizes
    levels = dashes(scores)
    environment = Environment(loader=PackageLoader("diffsynth.comparison", "page"), autoescape=True)
    environment.filters["b64"] = lambda data: base64.b64encode(data).decode("ascii")
    source, _, _ = environment.loader.get_source(environment, "report.css")  # type: ignore[union-attr]
    script, _, _ = environment.loader.get_source(environment, "report.js")  # type: ignore[union-attr]
    return environment.get_template("report.html").render(
        title=title,
        command=command,
        style=Markup(source),
        script=Markup(script),
        vega=Markup(vega()),
        noun=noun(scores),
        legend=legend(scores, verdicts) if verdicts.drawn else "",
        columns=[column for column in columns_of(scores).values() if _shown(column)],
        rows=[_row(score, scores, verdicts) for score in scores],
        findings=_findings(scores, verdicts),
        models=models,
        others=sum(score.offline for score in scores),
        bounds=[(score.label, levels[score.key]) for score in scores if score.key in levels],
        charts=drawn,
        clips=clips,
        groups=[list(group) for _, group in groupby(systems(scores, clips), lambda s: s["group"])],
        data=Markup(as_json(_data(scores, drawn, clips))),
        ticks=_ticks(clips[0].rate) if clips else [],
        spread=SPREAD,
        range=RANGE,
    )


@functools.cache
def vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script that sets `vegaEmbed`."""
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return bundle.replace("</script", "<\\/script")  # which would end the element that it stands in


def systems(scores: Sequence[Scores], clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """What can be heard: the recording first, then models, then what they lie between, each with a key."""
    heard = {track.system for clip in clips for track in clip.tracks}
    others = [score for score in scores if score.key in heard - {"recording"}]
    models = [score for score in others if score.competes]
    name = "recording"
    found = [{"id": name, "name": name, "label": name, "group": "", "key": KEYS[name]}]
    for number_, score in enumerate(models, 1):
        key = str(number_) if number_ < 10 else ""
        at = {"id": score.key, "key": key}
        if score.block is None:
            found.append({**at, "name": score.label, "label": score.label, "group": "other systems"})
        else:
            name = f"{score.model} at {score.block}"
            found.append({**at, "name": name, "label": str(score.block), "group": score.model})
    for score in (score for score in others if not score.competes):
        key = KEYS.get(score.model, "")
        at = {"id": score.key, "key": key, "label": score.label}
        found.append({**at, "name": score.label, "group": "references"})
    return found


def _shown(column: Any) -> bool:
    return not isinstance(column, Metric) or column.in_table


def _row(score: Scores, scores: Sequence[Scores], verdicts: Verdicts) -> dict[str, Any]:
    """A row of the table."""
    keys = [key for key, column in columns_of(scores).items() if _shown(column)]
    cells = [
        {
            "value": _digits(score.values.get(key), 3),
            "half": _digits(verdicts.half(score, key), 2),
            "mark": verdicts.mark(score, key),
        }
        for key in keys
    ]
    name = NAMES.get(score.model, score.model)
    kind = "model" if score.competes else "bound"
    return {"model": name, "block": score.block, "cells": cells, "kind": kind}


def _digits(value: float | None, digits: int) -> str:
    """A number with so many decimals, or, where it is small, significant digits; nothing for None."""
    if value is None:
        return ""
    return f"{value:.{digits}g}" if 0 < abs(value) < 0.1 else f"{value:.{digits}f}"


def _findings(scores: Sequence[Scores], verdicts: Verdicts) -> list[dict[str, Any]]:
    """What can be told, measure by measure."""
    labels = {score.system: score.label for score in scores}
    pianos = [(name, None) for name in (PIANO, ANOTHER) if (name, None) in labels]
    found = []
    for key, verdict in verdicts.by_measure.items():
        models = [s for s in verdict.rivals if s != (PIANO, None) and s != verdict.best]
        alike = [labels[system] for system in models if verdict.like_best(system)]
        found.append(
            {
                "measure": quality()[key].label,
                "best": labels[verdict.best],
                "alike": "all others" if models and len(alike) == len(models) else ", ".join(alike) or "none",
                "beside": {BESIDE[piano[0]]: _best_beside(verdict, piano) for piano in pianos},
            }
        )
    return found


def _best_beside(verdict: Verdict, system: System) -> str:
    """Whether the best is better or worse than a system, or alike; nothing where that is not known."""
    behind = verdict.behind(system, verdict.best)
    if behind is None:
        return ""
    return "better" if behind.low > 0 else "worse" if behind.high < 0 else "alike"


def _data(scores: Sequence[Scores], drawn: list[dict[str, Any]], clips: Sequence[Clip]) -> dict[str, Any]:
    """What the script reads."""
    return {
        "charts": drawn,
        "systems": systems(scores, clips),
        "clips": [
            {
                "name": clip.name,
                "seconds": clip.seconds,
                "begin": clip.begin,
                "moments": {track.system: [asdict(m) for m in track.moments] for track in clip.tracks},
            }
            for clip in clips
        ],
        "maps": {name: _colours(of) for name, of in MAPS.items()},
        "range": RANGE,
        "spread": SPREAD,
    }


def _colours(name: str) -> str:
    """A colour map as 256 times six hexadecimal digits."""
    colours = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return (colours * 255).round().astype(np.uint8).tobytes().hex()


def _ticks(rate: int) -> list[dict[str, Any]]:
    """Frequencies beside the pictures, with their heights in percent from the bottom."""
    centres = np.array(band_centres(rate))
    return [
        {"text": f"{hertz // 1000} k" if hertz >= 1000 else str(hertz), "at": round(float(place), 1)}
        for hertz in TICKS
        if centres[0] < hertz < centres[-1]
        for place in [100 * (np.interp(hertz, centres, np.arange(len(centres))) + 0.5) / len(centres)]
    ]


def as_json(value: Any) -> str:
    """JSON that may stand in a page."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
