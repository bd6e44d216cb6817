"""`diffsynth features`: conditions and band gains of all segments, what networks are trained on."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.machine import WORKERS, Workers
from pipeline.params import load_params
from pipeline.stage import PARAMS, ParamsFile, require_all, stage


def features(
    params_file: ParamsFile = PARAMS,
    shards: Annotated[Path, typer.Option(help="Folder of shards.")] = paths.SHARDS,
    fit: Annotated[Path, typer.Option(help="Fitted piano.")] = paths.FIT,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = paths.FEATURES,
    workers: Workers = WORKERS,
) -> None:
    """Compute what the models learn: band gains relative to the excitation."""
    from diffsynth.piano.piano import load_piano
    from diffsynth.representation.features import build_features, save_features
    from diffsynth.shards.segments import read_index, read_shards

    params = load_params(params_file)
    require_all({fit: "fit", shards / "index.json": "shard"})
    dataset = read_index(shards)["dataset"]
    piano = load_piano(fit)
    with stage("features", params, ["audio", "features"]) as run:
        sets = {
            split: build_features(read_shards(shards, split), piano, params.audio, params.features, workers)
            for split in ("train", "validation")
        }
        for split, built in sets.items():
            save_features(out / f"{split}.safetensors", built, dataset)
            error = (built.gains.float().abs() * built.weight).sum() / built.weight.float().sum()
            run.metrics({f"{split}_segments": len(built.gains), f"{split}_gain_db": 8.686 * float(error)})
            typer.echo(f"{out}/{split}: {len(built.gains)} segments, mean gain {8.686 * float(error):.2f} dB")
