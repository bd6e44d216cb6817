"""`diffsynth train`: one model at one block size."""

from pathlib import Path
from typing import Annotated

import typer

from diffsynth.config import load_params
from diffsynth.errors import UserError
from pipeline import paths
from pipeline.stage import PARAMS, Model, ParamsFile, require


def train(
    model: Model,
    block: Annotated[int, typer.Option(help="Samples per block: 512, 1024, 2048 or 4096.")] = 512,
    params_file: ParamsFile = PARAMS,
    model_save_dir: Annotated[Path, typer.Option(help="Folder of trained models.")] = paths.MODELS,
    data_dir: Annotated[Path, typer.Option(help="Folder that holds shards, fit and features.")] = paths.DATA,
    datasets: Annotated[str | None, typer.Option(help="Refuse data that is not of this dataset.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data, instead of steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Sequences per optimiser step.")] = None,
    mini_batch_size: Annotated[int | None, typer.Option(min=1, help="Sequences processed at once.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Highest learning rate.")] = None,
    units: Annotated[int | None, typer.Option(min=1, help="Width of the network.")] = None,
    cond_dim: Annotated[int | None, typer.Option(min=1, help="Width of the embedded condition.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of weights, batches and noise.")] = None,
    only_inference: Annotated[bool, typer.Option(help="Do not train: run `infer` with this model.")] = False,
    restart: Annotated[bool, typer.Option(help="Begin anew even if there is a checkpoint.")] = False,
) -> None:
    """Train one model at one block size; an interrupted run goes on from its last checkpoint."""
    given = {
        "train.steps": steps,
        "train.batch_size": batch_size,
        "train.mini_batch_size": mini_batch_size,
        "train.learning_rate": learning_rate,
        "train.seed": seed,
        **_size(model, units, cond_dim),
    }
    load_params(params_file).variant(model, block)
    params = load_params(params_file, given)
    if only_inference:
        from pipeline.infer import infer

        return infer(model, block, params_file, models=model_save_dir, aligned=data_dir / "aligned")
    for path, command in paths.training_data(data_dir, model).items():
        require(path, command)
    if datasets is not None:
        _check_dataset(data_dir, model, datasets)
    from pipeline.train_run import run_training

    run_training(params, model, block, data_dir, model_save_dir, epochs, restart)
    return None


def _size(model: str, units: int | None, cond_dim: int | None) -> dict[str, int | None]:
    """The parameters that the options of size stand for."""
    if model != "unet":
        return {f"{model}.units": units, f"{model}.cond_units": cond_dim}
    if cond_dim is not None:
        raise UserError("unet takes no --cond-dim: its condition is as wide as the network, see --units")
    return {"unet.width": units}


def _check_dataset(data_dir: Path, model: str, wanted: str) -> None:
    """Refuse data that is not of the wanted dataset: the files that are trained on, not the raw ones."""
    from diffsynth.representation.features import features_dataset
    from diffsynth.shards.segments import read_index

    for path in paths.training_data(data_dir, model):
        if path.parent.name == paths.SHARDS.name:
            found = read_index(path.parent)["dataset"]
        elif path.parent.name == paths.FEATURES.name:
            found = features_dataset(path)
        else:
            continue
        if found != wanted:
            raise UserError(
                f"{path} was made of the dataset {found or '(unknown)'}; set dataset.name to {wanted} in "
                "params.yaml and run `dvc repro features` first"
            )
