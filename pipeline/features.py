"""`diffsynth features`: conditions and band gains of all segments, what networks are trained on."""

from pathlib import Path
from typing import Annotated

import typer

from diffsynth.runs.cluster import on_cluster
from pipeline import paths
from pipeline.machine import WORKERS, Cluster, Workers
from pipeline.params import load_params
from pipeline.stage import PARAMS, ParamsFile, require_all, stage


def features(
    params_file: ParamsFile = PARAMS,
    shards: Annotated[str, typer.Option(help="Folder of shards, or its URL.")] = str(paths.SHARDS),
    fit: Annotated[Path, typer.Option(help="Fitted piano.")] = paths.FIT,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = paths.FEATURES,
    workers: Workers = WORKERS,
    cluster: Cluster = None,
) -> None:
    """Compute what the models learn: band gains relative to the excitation."""
    from diffsynth.representation.feature_shards import read_moments, write_features
    from diffsynth.shards.folders import index_file
    from diffsynth.shards.places import place

    params = load_params(params_file)
    folder = place(shards)
    require_all({fit: "fit", index_file(folder): "shard"})
    with on_cluster(cluster), stage("features", params, ["audio", "features"]) as run:
        index = write_features(folder, fit, out, params.audio, params.features, workers)
        for split, part in index["splits"].items():
            gain, count = read_moments(part).mean_db, part["samples"]
            run.metrics({f"{split}_segments": count, f"{split}_gain_db": gain})
            typer.echo(f"{out}/{split}: {count} segments, mean gain {gain:.2f} dB")
        run.artifact(index_file(out))
