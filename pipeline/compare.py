"""`diffsynth compare`: one table and the published curves over all models and block sizes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffsynth.errors import UserError
from diffsynth.runs.files import atomic_path
from pipeline import paths
from pipeline.params import Params, load_params
from pipeline.stage import PARAMS, ParamsFile, command_for, stage

if TYPE_CHECKING:
    from diffsynth.comparison.tables import Scores


def compare(
    params_file: ParamsFile = PARAMS,
    metrics: Annotated[Path, typer.Option(help="Folder of what `evaluate` measured.")] = paths.METRICS,
    timings: Annotated[Path, typer.Option(help="Folder of what `infer` timed.")] = paths.TIMINGS,
    output: Annotated[Path, typer.Option(help="Folder to write.")] = paths.COMPARE,
) -> None:
    """Tabulate and plot the models and block sizes of the parameters that have been evaluated."""
    params = load_params(params_file)
    reports = _reports(params, metrics, timings)
    from diffsynth.comparison import tables

    above, below = (_bounds(metrics, names) for names in (tables.ABOVE, tables.BELOW))
    scores = [*above, *(tables.read_scores(*files) for files in reports), *below]
    with stage("compare", params, []) as run:
        run.params({"models": params.models, "blocks": params.blocks})
        table = tables.to_markdown(scores)
        texts = {"table.csv": tables.to_csv(scores), "table.md": table}
        texts["curves.csv"] = tables.to_curves(scores)
        for name, text in texts.items():
            with atomic_path(output / name) as temporary:
                temporary.write_text(text, encoding="utf8")
        figures = {"rtf.png": tables.plot_rtf(scores), "quality.png": tables.plot_quality(scores)}
        for name, figure in figures.items():
            with atomic_path(output / name) as temporary:
                # Without the version of matplotlib in it, the file depends on the numbers alone.
                figure.savefig(temporary, dpi=150, metadata={"Software": None})
        for name in (*texts, *figures):
            run.artifact(output / name)
        for of in scores:  # MLflow then draws the curves as well, with the block as step
            for block in params.blocks if of.block is None else [of.block]:
                run.metrics({f"{key}/{of.model}": value for key, value in of.values.items()}, block)
    typer.echo(table, nl=False)


def _bounds(metrics: Path, names: Sequence[str]) -> list["Scores"]:
    """What the stage `bounds` has measured under these names; what is missing is named on stderr."""
    from diffsynth.comparison.tables import read_bound

    files = {name: metrics / "bounds" / f"{name}.json" for name in names}
    for name, file in files.items():
        if not file.is_file():
            typer.echo(f"diffsynth: not measured by `diffsynth bounds` and left out: {name}", err=True)
    return [read_bound(file) for file in files.values() if file.is_file()]


def _reports(params: Params, metrics: Path, timings: Path) -> list[list[Path]]:
    """Report and timings of every variant; those that are missing are named on stderr."""
    variants = [(model, block) for model in params.models for block in params.blocks]
    reports = {
        variant: [paths.of_variant(folder, *variant, ".json") for folder in (metrics, timings)]
        for variant in variants
    }
    missing = [variant for variant, files in reports.items() if not all(file.is_file() for file in files)]
    if len(missing) == len(variants):
        raise UserError(
            f"{metrics} holds no report of these models; run `{command_for(metrics, 'evaluate')}` first"
        )
    if missing:
        names = ", ".join(f"{model}-{block}" for model, block in missing)
        typer.echo(f"diffsynth: not evaluated and left out: {names}", err=True)
    return [files for variant, files in reports.items() if variant not in missing]
