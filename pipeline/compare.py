"""`diffsynth compare`: one table and the published curves over all models and block sizes."""

from pathlib import Path
from typing import Annotated

import typer

from diffsynth.errors import UserError
from diffsynth.runs.files import atomic_path
from pipeline import paths
from pipeline.params import Params, load_params
from pipeline.stage import PARAMS, ParamsFile, command_for, stage


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

    cells = [tables.read_scores(*files) for files in reports]
    with stage("compare", params, []) as run:
        run.params({"models": params.models, "blocks": params.blocks})
        table = tables.to_markdown(cells)
        texts = {"table.csv": tables.to_csv(cells), "table.md": table}
        texts["curves.csv"] = tables.to_curves(cells)
        for name, text in texts.items():
            with atomic_path(output / name) as temporary:
                temporary.write_text(text, encoding="utf8")
        figures = {"rtf.png": tables.plot_rtf(cells), "quality.png": tables.plot_quality(cells)}
        for name, figure in figures.items():
            with atomic_path(output / name) as temporary:
                # Without the version of matplotlib in it, the file depends on the numbers alone.
                figure.savefig(temporary, dpi=150, metadata={"Software": None})
        for name in (*texts, *figures):
            run.artifact(output / name)
        for cell in cells:  # MLflow then draws the curves as well, with the block as step
            run.metrics({f"{key}/{cell.model}": value for key, value in cell.values.items()}, cell.block)
    typer.echo(table, nl=False)


def _reports(params: Params, metrics: Path, timings: Path) -> list[list[Path]]:
    """Report and timings of every cell; those that are missing are named on stderr."""
    cells = [(model, block) for model in params.models for block in params.blocks]
    reports = {
        cell: [paths.of_variant(folder, *cell, ".json") for folder in (metrics, timings)] for cell in cells
    }
    missing = [cell for cell, files in reports.items() if not all(file.is_file() for file in files)]
    if len(missing) == len(cells):
        raise UserError(
            f"{metrics} holds no report of these models; run `{command_for(metrics, 'evaluate')}` first"
        )
    if missing:
        names = ", ".join(f"{model}-{block}" for model, block in missing)
        typer.echo(f"diffsynth: not evaluated and left out: {names}", err=True)
    return [files for cell, files in reports.items() if cell not in missing]
