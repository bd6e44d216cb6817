"""`diffsynth compare`: a table, the published curves and a page over all models and block sizes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffsynth.errors import UserError
from diffsynth.runs.files import atomic_path, check_writable, write_json
from pipeline import paths
from pipeline.params import Params, load_params
from pipeline.stage import PARAMS, ParamsFile, command_for, stage

if TYPE_CHECKING:
    from diffsynth.comparison.clips import Clip
    from diffsynth.comparison.tables import Scores
    from diffsynth.comparison.verdicts import Segments, System

TITLE = "Models, blocks and the recording"


def compare(
    params_file: ParamsFile = PARAMS,
    metrics: Annotated[Path, typer.Option(help="Folder of what `evaluate` measured.")] = paths.METRICS,
    timings: Annotated[Path, typer.Option(help="Folder of what `infer` timed.")] = paths.TIMINGS,
    figures: Annotated[Path, typer.Option(help="Folder with the metrics of segments.")] = paths.FIGURES,
    renders: Annotated[Path, typer.Option(help="Folder of what `infer` rendered.")] = paths.RENDERS,
    aligned: Annotated[Path, typer.Option(help="Folder of the recordings.")] = paths.ALIGNED,
    output: Annotated[Path, typer.Option(help="Folder to write.")] = paths.COMPARE,
    table: Annotated[Path, typer.Option(help="Folder of rows for `dvc metrics`.")] = paths.TABLE,
) -> None:
    """Tabulate and plot the models and block sizes of the parameters that have been evaluated."""
    params = load_params(params_file)
    reports = _reports(params, metrics, timings)
    from diffsynth.comparison import plots, tables
    from diffsynth.comparison.report import to_html
    from diffsynth.comparison.verdicts import to_intervals, verdicts

    above, below = (_bounds(metrics, names) for names in (tables.ABOVE, tables.BELOW))
    for folder in (output, table):
        check_writable(folder / "table.csv")
    scores = [*above, *(_score(variant, *files) for variant, files in reports.items()), *below]
    with stage("compare", params, []) as run:
        run.params({"models": params.models, "blocks": params.blocks})
        found = verdicts(scores, _segments(figures, scores))
        shown = tables.to_markdown(scores, found)
        texts = {"table.csv": tables.to_csv(scores), "table.md": shown}
        texts["curves.csv"] = tables.to_curves(scores)
        texts["intervals.csv"] = to_intervals(scores, found)
        texts["report.html"] = to_html(scores, found, _clips(aligned, renders, scores), TITLE)
        pictures = {"rtf.png": plots.plot_rtf(scores), "quality.png": plots.plot_quality(scores, found)}
        for name, text in texts.items():
            with atomic_path(output / name) as temporary:
                temporary.write_text(text, encoding="utf8")
        _write_rows(table, tables.to_rows(scores))
        for name, figure in pictures.items():
            with atomic_path(output / name) as temporary:
                # Without the version of matplotlib in it, the file depends on the numbers alone.
                figure.savefig(temporary, dpi=150, metadata={"Software": None})
        for name in (*texts, *pictures):
            run.artifact(output / name)
        for of in scores:  # MLflow then draws the curves, too; by their names they come after those of voices
            for block in params.blocks if of.block is None else [of.block]:
                run.metrics({f"vs_block.{key}.{of.model}": value for key, value in of.values.items()}, block)
    typer.echo(shown, nl=False)


def _write_rows(folder: Path, rows: dict[str, dict[str, float]]) -> None:
    """One file per row; those of rows that are no more are removed."""
    for name, row in rows.items():
        write_json(folder / f"{name}.json", row)
    for file in folder.glob("*.json"):
        if file.stem not in rows:
            file.unlink()


def _segments(figures: Path, scores: Sequence["Scores"]) -> dict["System", "Segments"]:
    """Metrics of segments, by system; where none are found, that is said on stderr."""
    from diffsynth.comparison.verdicts import SEGMENTS, read_segments

    files = {of.system: paths.of_system(figures, *of.system) / SEGMENTS for of in scores}
    found = {system: read_segments(file) for system, file in files.items() if file.is_file()}
    if not found:
        typer.echo(f"diffsynth: {figures} holds no metrics of segments: intervals are left out", err=True)
    return found


def _clips(aligned: Path, renders: Path, scores: Sequence["Scores"]) -> list["Clip"]:
    """What the report plays; where there is nothing, that is said on stderr."""
    from diffsynth.comparison.clips import clips_of

    folders = {of.key: paths.of_system(renders, *of.system) for of in scores}
    found = {key: folder for key, folder in folders.items() if folder.is_dir()}
    models = [of.key for of in scores if of.block is not None and of.key in found]
    if not models or not aligned.is_dir():
        lacking = f"{renders} holds no renders" if not models else f"{aligned} holds no recordings"
        typer.echo(f"diffsynth: {lacking}: the report has no players", err=True)
        return []
    return clips_of(aligned, found, models)


def _bounds(metrics: Path, names: Sequence[str]) -> list["Scores"]:
    """What the stage `bounds` has measured under these names; what is missing is named on stderr."""
    from diffsynth.comparison.tables import read_bound

    files = {name: metrics / "bounds" / f"{name}.json" for name in names}
    for name, file in files.items():
        if not file.is_file():
            typer.echo(f"diffsynth: not measured by `diffsynth bounds` and left out: {name}", err=True)
    return [_of(read_bound(file), (name, None), file) for name, file in files.items() if file.is_file()]


def _score(variant: tuple[str, int], report: Path, timings: Path) -> "Scores":
    """What was measured of a variant."""
    from diffsynth.comparison.tables import read_scores

    return _of(read_scores(report, timings), variant, report)


def _of(scores: "Scores", system: "System", report: Path) -> "Scores":
    """The scores of a report, which must be of the system that its place says."""
    if scores.system != system:
        raise UserError(f"{report} is a report of {scores.label}: it lies where that of another belongs")
    return scores


def _reports(params: Params, metrics: Path, timings: Path) -> dict[tuple[str, int], list[Path]]:
    """Report and timings of every variant; those that are missing are named on stderr."""
    variants = [(model, block) for model in params.models for block in params.blocks]
    reports = {
        variant: [paths.of_variant(folder, *variant, ".json") for folder in (metrics, timings)]
        for variant in variants
    }
    missing = [variant for variant, files in reports.items() if not all(file.is_file() for file in files)]
    if len(missing) == len(variants):
        measured = any(files[0].is_file() for files in reports.values())
        folder, what, command = (timings, "timings", "infer") if measured else (metrics, "report", "evaluate")
        raise UserError(
            f"{folder} holds no {what} of these models; run `{command_for(folder, command)}` first"
        )
    if missing:
        names = ", ".join(f"{model}-{block}" for model, block in missing)
        typer.echo(f"diffsynth: not evaluated and left out: {names}", err=True)
    return {variant: files for variant, files in reports.items() if variant not in missing}
