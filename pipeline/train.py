"""`diffsynth train`: one model at one block size."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffsynth.audio.format import BLOCKS
from diffsynth.config import choice
from diffsynth.errors import UserError
from diffsynth.models.registry import MODELS
from pipeline import paths
from pipeline.machine import (
    CHECKPOINT_EVERY,
    LOADERS,
    TRAINING_THREADS,
    CheckpointEvery,
    Device,
    Loaders,
    Precision,
    Threads,
)
from pipeline.params import load_params
from pipeline.stage import PARAMS, Block, Model, ParamsFile, require

if TYPE_CHECKING:
    from diffsynth.training.task import Inputs


def train(
    model: Model,
    block: Block = BLOCKS[0],
    params_file: ParamsFile = PARAMS,
    model_save_dir: Annotated[Path, typer.Option(help="Folder of trained models.")] = paths.MODELS,
    data_dir: Annotated[
        str, typer.Option(help="Folder that holds shards, fit and features, or its URL.")
    ] = str(paths.DATA),
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
    init_from: Annotated[
        Path | None, typer.Option(help="Voice of the same model and sizes to go on from: fine-tuning.")
    ] = None,
    restart: Annotated[bool, typer.Option(help="Begin anew even if there is a checkpoint.")] = False,
    resume_anyway: Annotated[
        bool,
        typer.Option(
            help="Go on from a checkpoint of other training code, or of another learning_rate, weight_decay, "
            "clip, steps, validate_every, patience or max_skipped; never of other data, networks or seeds."
        ),
    ] = False,
    threads: Threads = TRAINING_THREADS,
    checkpoint_every: CheckpointEvery = CHECKPOINT_EVERY,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Loaders = LOADERS,
    profile: Annotated[
        bool, typer.Option(help="Say where the time of a few steps goes, on one thread.")
    ] = False,
) -> None:
    """Train one model at one block size; an interrupted run goes on from its last checkpoint.

    A run that has ended goes on as well where --steps or --epochs asks for more than it had.
    """
    given = {
        "train.steps": steps,
        "train.batch_size": batch_size,
        "train.mini_batch_size": mini_batch_size,
        "train.learning_rate": learning_rate,
        "train.seed": seed,
        "diffusion.objective": MODELS[choice("model", model, MODELS)].objective,
        **_size(model, units=units, cond_dim=cond_dim),
    }
    load_params(params_file).variant(model, block)
    params = load_params(params_file, given)
    if only_inference:
        from pipeline.infer import infer

        return infer(model, block, params_file, models=model_save_dir, aligned=Path(data_dir) / "aligned")
    from diffsynth.shards.places import local, place, within
    from diffsynth.training.registry import TASKS
    from diffsynth.training.task import Inputs

    data = place(data_dir)
    piano = within(within(data, paths.FIT.parent.name), paths.FIT.name)
    inputs = Inputs(within(data, paths.SHARDS.name), within(data, paths.FEATURES.name), local(piano))
    files = TASKS[params.model(model).voice].files(inputs)
    for path, command in files.items():
        require(path, command)
    if datasets is not None:
        _check_dataset(inputs, files, datasets)
    from pipeline.train_resume import Beginning
    from pipeline.train_run import Options, run_training

    how = Options(threads, checkpoint_every, device, precision, workers, profile)
    begin = Beginning(restart, resume_anyway, (steps or epochs) is not None, init_from)
    run_training(params, model, block, inputs, model_save_dir, epochs, how, begin)
    return None


def _size(model: str, **options: int | None) -> dict[str, Any]:
    """The parameters that the options of size stand for."""
    sizes = MODELS[choice("model", model, MODELS)].sizes
    given = {option: value for option, value in options.items() if value is not None}
    for option in given.keys() - sizes.keys():
        taken = " and ".join(f"--{name.replace('_', '-')}" for name in sizes)
        raise UserError(f"{model} takes no --{option.replace('_', '-')}, see {taken}")
    return {f"{model}.{sizes[option]}": value for option, value in given.items()}


def _check_dataset(inputs: "Inputs", files: Collection[Path], wanted: str) -> None:
    """Refuse data that is not of the wanted dataset: the files that are trained on, not the raw ones."""
    from diffsynth.shards.folders import index_file, read_index

    for folder in (inputs.features, inputs.shards):
        path = index_file(folder)
        found = read_index(folder).get("dataset") if path in files else wanted
        if found != wanted:
            raise UserError(
                f"{path} was made of the dataset {found or '(unknown)'}; set dataset.name to {wanted} in "
                "params.yaml and run `dvc repro features` first"
            )
