"""`diffsynth shard`: aligned performances as webdataset shards."""

from pathlib import Path
from typing import Annotated

import typer

from diffsynth.runs.cluster import on_cluster
from pipeline import paths
from pipeline.machine import WORKERS, Cluster, Workers
from pipeline.params import load_params
from pipeline.stage import PARAMS, ParamsFile, require, stage


def shard(
    params_file: ParamsFile = PARAMS,
    aligned: Annotated[Path, typer.Option(help="Folder of aligned performances.")] = paths.ALIGNED,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = paths.SHARDS,
    workers: Workers = WORKERS,
    cluster: Cluster = None,
) -> None:
    """Cut the aligned performances into samples for training."""
    from diffsynth.shards.writing import write_shards

    params = load_params(params_file)
    require(aligned / "index.json", "align")
    with on_cluster(cluster), stage("shard", params, ["shard"]) as run:
        index = write_shards(aligned, out, params.shard, workers)
        counts = {split: part["samples"] for split, part in index["splits"].items()}
        run.metrics(counts)
        run.artifact(out / "index.json")
    typer.echo(f"{out}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))
