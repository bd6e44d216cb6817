"""`diffsynth download`: the performances, as pairs of MIDI and audio with a manifest."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from diffsynth.config import load_params
from pipeline import paths
from pipeline.stage import PARAMS, ParamsFile, stage


def download(
    params_file: ParamsFile = PARAMS,
    name: Annotated[str | None, typer.Option(help="Dataset: demo, folder, rendered or maestro.")] = None,
    root: Annotated[
        str | None, typer.Option(help="Folder of your pairs, or of MIDI files to render.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Length of generated music to render.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the generator and of the split.")] = None,
    soundfont: Annotated[str | None, typer.Option(help="SoundFont to render with.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that render.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = paths.RAW,
) -> None:
    """Bring a dataset, verify it, and say what had to be set aside."""
    from diffsynth.data.sources import bring

    given = {
        "name": name,
        "root": root,
        "minutes": minutes,
        "seed": seed,
        "soundfont": soundfont,
        "workers": workers,
    }
    params = load_params(params_file, {f"dataset.{key}": value for key, value in given.items()})
    with stage("download", params, ["dataset"]) as run:
        manifest = bring(params.dataset, out, paths.DEMO)
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
