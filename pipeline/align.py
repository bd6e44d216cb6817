"""`diffsynth align`: MIDI and audio of every performance on one clock."""

from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from diffsynth.runs.cluster import on_cluster
from pipeline import paths
from pipeline.machine import WORKERS, Cluster, Workers
from pipeline.params import load_params
from pipeline.stage import PARAMS, ParamsFile, require, stage


def align(
    params_file: ParamsFile = PARAMS,
    raw: Annotated[Path, typer.Option(help="Folder with a manifest.")] = paths.RAW,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = paths.ALIGNED,
    report: Annotated[Path, typer.Option(help="Folder of the table and plot.")] = paths.ALIGN_RESULTS,
    workers: Workers = WORKERS,
    cluster: Cluster = None,
) -> None:
    """Match the MIDI events of every performance to its audio."""
    params = load_params(params_file)
    require(raw / "manifest.json", "download")
    from diffsynth.alignment.performances import align_all
    from diffsynth.alignment.report import write_report

    with on_cluster(cluster), stage("align", params, ["audio", "align"]) as run:
        entries = align_all(raw, out, params.audio, params.align, workers)
        write_report(entries, report)
        good = [entry for entry in entries if entry.status == "ok"]
        figures = {
            "aligned": len(good),
            "rejected": len(entries) - len(good),
            "minutes": sum(entry.duration for entry in good) / 60,
            "median_offset_ms": 1000 * median(abs(entry.offset) for entry in good),
            "median_residual_ms": median(entry.residual_ms for entry in good),
        }
        run.metrics(figures)
        run.artifact(report)
    for entry in entries:
        if entry.status != "ok":
            typer.echo(f"rejected: {entry.name}: {entry.reason}", err=True)
    typer.echo(
        f"{out}: {len(good)} performances, {figures['minutes']:.1f} min, {figures['rejected']} rejected, "
        f"median residual {figures['median_residual_ms']:.1f} ms"
    )
