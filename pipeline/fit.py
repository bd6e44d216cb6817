"""`diffsynth fit`: the modal excitation, fitted to the aligned training performances."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.params import load_params
from pipeline.stage import PARAMS, ParamsFile, require, stage


def fit(
    params_file: ParamsFile = PARAMS,
    aligned: Annotated[Path, typer.Option(help="Folder of aligned performances.")] = paths.ALIGNED,
    out: Annotated[Path, typer.Option(help="File to write.")] = paths.FIT,
    report: Annotated[Path, typer.Option(help="Folder of the table and plot per key.")] = paths.FIT_RESULTS,
) -> None:
    """Fit the modal excitation to the aligned performances."""
    from diffsynth.fitting.excerpts import read_takes
    from diffsynth.fitting.fit import fit_piano
    from diffsynth.fitting.report import write_report
    from diffsynth.piano.piano import save_piano

    params = load_params(params_file)
    require(aligned / "index.json", "align")
    with stage("fit", params, ["audio", "fit"]) as run:
        piano = fit_piano(read_takes(aligned, params.fit.minutes), params.fit)
        save_piano(out, piano)
        write_report(piano, report)
        keys = len(set(piano.key.tolist()))
        run.metrics({"modes": len(piano.key), "keys": keys, "sampled": float(piano.sampled)})
        run.artifact(out)
        run.artifact(report)
    kind = "sampled voices" if piano.sampled else "strings"
    typer.echo(f"{out}: {len(piano.key)} modes of 88 keys, {kind}")
