"""`diffsynth download`: the performances, as pairs of MIDI and audio with a manifest."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from diffsynth.datasets.registry import SOURCES, bring
from diffsynth.datasets.source import Means
from diffsynth.errors import UserError
from diffsynth.runs.cluster import on_cluster
from pipeline import paths
from pipeline.cached import cached_output
from pipeline.machine import CONNECTIONS, WORKERS, Cluster, Connections, Workers
from pipeline.params import load_params
from pipeline.stage import PARAMS, ParamsFile, or_list, stage


def download(
    params_file: ParamsFile = PARAMS,
    name: Annotated[str | None, typer.Option(help=f"Dataset: {or_list(SOURCES)}.")] = None,
    root: Annotated[
        str | None, typer.Option(help="Folder of your pairs, or of MIDI files to render, or copy of MAESTRO.")
    ] = None,
    year: Annotated[
        list[str] | None, typer.Option(help="Year of MAESTRO, several times if need be, or: all.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Where MAESTRO lies at a server.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Length of generated music to render.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the generator and of the split.")] = None,
    instrument: Annotated[
        str | None, typer.Option("--instrument", "--soundfont", help="SoundFont or SFZ to render with.")
    ] = None,
    program: Annotated[
        int | None, typer.Option(help="General MIDI program of a SoundFont: 0 is a piano.")
    ] = None,
    gain: Annotated[float | None, typer.Option(min=0.0, help="Linear, of the synthesizer.")] = None,
    workers: Workers = WORKERS,
    cluster: Cluster = None,
    connections: Connections = CONNECTIONS,
    dry_run: Annotated[bool, typer.Option(help="Say what would be downloaded, and do nothing.")] = False,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = paths.RAW,
) -> None:
    """Bring a dataset, verify it, and say what had to be set aside."""
    given = {
        "name": name,
        "root": root,
        "years": _years(year),
        "url": url,
        "minutes": minutes,
        "seed": seed,
        "instrument": instrument,
        "program": program,
        "gain": gain,
    }
    params = load_params(params_file, {f"dataset.{key}": value for key, value in given.items()})
    earlier = {} if dry_run else cached_output("download", out)
    means = Means(workers, connections, earlier=earlier, say=partial(typer.echo, err=True))
    if dry_run:
        typer.echo("\n".join(params.dataset.plan(out, means)))
        return
    with on_cluster(cluster), stage("download", params, ["dataset"]) as run:
        manifest = bring(params.dataset, out, means)
        count = Counter(performance.split for performance in manifest.performances)
        seconds = sum(performance.duration for performance in manifest.performances)
        run.metrics({"performances": len(manifest.performances), "minutes": seconds / 60, **count})
        run.artifact(out / "manifest.json")
    for performance in manifest.performances:
        if performance.clipped:
            typer.echo(
                f"clipped: {performance.title or performance.name}: {performance.clipped} samples", err=True
            )
    for item in manifest.set_aside:
        typer.echo(f"set aside: {item.name}: {item.reason}", err=True)
    splits = ", ".join(f"{count[split]} {split}" for split in ("train", "validation", "test"))
    total = f"{len(manifest.performances)} performances, {seconds / 60:.1f} min ({splits})"
    typer.echo(f"{out}: {manifest.dataset}, {total}, {len(manifest.set_aside)} set aside")


def _years(given: list[str] | None) -> Any:
    """Years as `params.yaml` has them; None if none were given.

    Raises:
        UserError: one is not a number.
    """
    if not given:
        return None
    if "all" in given:
        return "all"
    if wrong := [year for year in given if not (year.isascii() and year.isdigit())]:
        raise UserError(f"--year takes a year or all, not {wrong[0]!r}")
    return [int(year) for year in given]
