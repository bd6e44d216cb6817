"""What the benchmark writes: the table as CSV and for people, and the page of the comparison."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffsynth.benchmark.measuring import AUDIO, How, Measured
from diffsynth.benchmark.metadata import metadata
from diffsynth.benchmark.pieces import Piece
from diffsynth.benchmark.rendering import Speed
from diffsynth.benchmark.systems import OwnVoice, System
from diffsynth.comparison.clips import clips_of
from diffsynth.comparison.report import to_html
from diffsynth.comparison.tables import BESIDES, TIMINGS, Scores, quality, to_markdown
from diffsynth.comparison.verdicts import Verdicts, interval, to_intervals, verdicts
from diffsynth.evaluation.anchor import LOW_PASS
from diffsynth.evaluation.evaluating import RECORDING, round_values
from diffsynth.evaluation.registry import METRICS
from diffsynth.runs.files import atomic_path, write_json

TITLE = "Benchmark"
EDGE = 0.95  # of the largest delay: what is beyond may be a part of a larger one
REFERENCE = "reference"  # kind of the rows around the systems
WHOLE, SEGMENTS = "performances", "segments"  # what a row of the table is a mean over


@dataclass(frozen=True)
class Results:
    """All that is known of all systems, in the order of the table.

    Attributes:
        kinds: of systems, by key.
        scores: means over whole performances, with speeds.
        measured: by key.
        speeds: by key; none of the rows around the systems.
        found: intervals.
    """

    kinds: dict[str, str]
    scores: list[Scores]
    measured: dict[str, Measured]
    speeds: dict[str, Speed]
    found: Verdicts

    def far(self, lag: float) -> list[str]:
        """Lines about renderings whose delay is at the end of what was looked for, `lag` in s."""
        return [
            f"{key} is {1000 * late:.0f} ms later than the recording of {name}, or more: see --lag"
            for key, measured in self.measured.items()
            for name, late in measured.offsets.items()
            if lag and abs(late) > EDGE * lag
        ]


def collect(systems: Sequence[System], measured: Mapping[str, Measured], speeds: dict[str, Speed]) -> Results:
    """Everything in the order of the table: the low anchor, the systems in their order, the recording."""
    kinds = {LOW_PASS: REFERENCE, **{system.key: system.kind for system in systems}, RECORDING: REFERENCE}
    offline = {system.key: system.competes and system.block is None for system in systems}
    named = {system.key: (system.model, system.block) for system in systems}
    scores = []
    for key in kinds:
        model, block = named.get(key, (key, None))
        values = {name: value for name, value in _means(measured[key]).items() if name in quality()}
        if key in speeds:
            late = 1000 * float(np.mean(list(measured[key].offsets.values())))
            values |= {**speeds[key].values, "offset_ms": round(late, 2)}
        scores.append(Scores(model, block, values, offline.get(key, False)))
    known = {score.system: measured[score.key].segments for score in scores if score.key != RECORDING}
    return Results(kinds, scores, dict(measured), speeds, verdicts(scores, known))


def _means(measured: Measured) -> dict[str, float]:
    """Over performances, each as a whole."""
    rows = list(measured.scores.values())
    return round_values({name: float(np.mean([row[name] for row in rows])) for name in rows[0]})


def _segment_means(measured: Measured) -> dict[str, float]:
    """Over performances, each a mean over its segments."""
    rows = list(measured.segments.values())
    return round_values(
        {name: float(np.mean([np.mean(row[name]) for row in rows])) for name in rows[0] if name in METRICS}
    )


def write(
    results: Results,
    systems: Sequence[System],
    pieces: Sequence[Piece],
    how: How,
    machine: dict[str, Any],
    out: Path,
) -> list[Path]:
    """Write all files into the folder `out`; returns their paths."""
    table = to_markdown(results.scores, results.found)
    texts = {
        "results.csv": to_csv(results, pieces),
        "performances.csv": to_performances(results),
        "intervals.csv": to_intervals(results.scores, results.found),
        "table.md": f"{table}\n{_footnote(systems, pieces, how, machine)}\n",
        "report.html": page(results, out),
    }
    for name, text in texts.items():
        with atomic_path(out / name) as temporary:
            temporary.write_text(text, encoding="utf8")
    write_json(out / "metadata.json", metadata(systems, pieces, how, machine))
    return [out / name for name in (*texts, "metadata.json")]


def page(results: Results, out: Path) -> str:
    """The page of the comparison, with what was measured in `out` to be heard."""
    keys = [key for key in results.kinds if key != RECORDING]
    competing = [score.key for score in results.scores if score.competes]
    clips = clips_of(out / AUDIO / RECORDING, {key: out / AUDIO / key for key in keys}, competing)
    return to_html(results.scores, results.found, clips, TITLE, "benchmark")


def to_csv(results: Results, pieces: Sequence[Piece]) -> str:
    """Two rows for each system: means over whole performances, and over their segments, with 95 % intervals.

    The columns of speed belong to both.
    """
    keys = _keys(results)
    ends = [name for key in keys for name in (key, f"{key}_low", f"{key}_high")]
    others = [*TIMINGS, *BESIDES]
    head = ["system", "kind", "model", "block", "mean_over", *ends, *others, "clipped", "pieces", "seconds"]
    size = [len(pieces), round(sum(piece.end for piece in pieces), 3)]
    rows = []
    for score in results.scores:
        found = results.measured[score.key]
        speed = results.speeds.get(score.key)
        last = [*(score.values.get(key, "") for key in others), "" if speed is None else speed.clipped, *size]
        for over, means in ((WHOLE, _means(found)), (SEGMENTS, _segment_means(found))):
            of = Scores(score.model, score.block, means, score.offline)
            first = [score.key, results.kinds[score.key], score.model, score.block, over]
            rows.append([*first, *(cell for key in keys for cell in _ends(of, key, results.found)), *last])
    return _csv(head, rows)


def _keys(results: Results) -> list[str]:
    """Metrics that were measured, in their order: some need an extra, or what a pair of signals lacks."""
    scores = next(iter(results.measured.values())).scores
    return [key for key in METRICS if key in next(iter(scores.values()))]


def _ends(score: Scores, key: str, found: Verdicts) -> list[Any]:
    """A mean, and the ends of its interval, if it has one."""
    if key not in quality() or found.half(score, key) is None:
        return [score.values[key], "", ""]
    return [score.values[key], *(float(f"{end:.5g}") for end in interval(score, key, found))]


def to_performances(results: Results) -> str:
    """One row for each system and performance."""
    keys = _keys(results)
    rows = [
        [key, name, *(scores[metric] for metric in keys), round(1000 * found.offsets[name], 2)]
        for key, found in ((key, results.measured[key]) for key in results.kinds)
        for name, scores in found.scores.items()
    ]
    return _csv(["system", "performance", *keys, "offset_ms"], rows)


def _footnote(
    systems: Sequence[System], pieces: Sequence[Piece], how: How, machine: Mapping[str, Any]
) -> str:
    """What has to be known to read the table, in a line."""
    seconds = sum(piece.end - how.stretch.begin for piece in pieces)
    begin = f" from second {how.stretch.begin:g}" if how.stretch.begin else ""
    moved = f"delays up to {1000 * how.lag:g} ms removed" if how.lag else "delays not removed"
    heard = "mono" if how.channels == 1 else "stereo"
    count = f"{len(pieces)} performance{'s' if len(pieces) > 1 else ''}"
    most = max((system.playing.steps for system in systems if isinstance(system, OwnVoice)), default=1)
    steps = f", {most} steps of the sampler where a voice takes more than one" if most > 1 else ""
    return (
        f"{count}, {seconds:.1f} s{begin}, at {how.rate} Hz, {heard}, {moved}; "
        f"{machine['cpu']}, one thread for voices{steps}; diffsynth {machine['diffsynth']}."
    )


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return file.getvalue()
