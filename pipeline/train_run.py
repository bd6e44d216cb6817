"""What `diffsynth train` does once its input is known: the run, its checkpoints and its records."""

import csv
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import typer

from diffsynth.runs.files import atomic_path, sha256
from diffsynth.runs.resuming import code_files
from diffsynth.shards.places import Place
from diffsynth.shards.segments import read_shards
from diffsynth.synthesis.registry import VOICES
from diffsynth.synthesis.voice import VoiceConfig
from diffsynth.synthesis.weights import save_voice
from diffsynth.training.checkpoint import load_checkpoint, run_stamp, save_checkpoint
from diffsynth.training.machine import Machine, find_device, find_precision, prepare_torch
from diffsynth.training.profiling import profiled_steps
from diffsynth.training.random_streams import weights_seed
from diffsynth.training.ranks import joined, local_rank
from diffsynth.training.registry import TASKS
from diffsynth.training.task import Inputs, Task
from diffsynth.training.trainer import Trainer
from diffsynth.training.validation import Excerpt
from pipeline import paths
from pipeline.params import Params
from pipeline.stage import stage
from pipeline.train_loop import train_all

# Parts of the library that decide what a checkpoint means, beside the network of its model.
CODE = ("diffusion", "models/parts", "representation", "training")


@dataclass(frozen=True)
class Options:
    """How the machine works, see `pipeline.machine`, and whether to begin anew, and to write a profile."""

    threads: int
    checkpoint_every: int
    device: str
    precision: str
    workers: int
    restart: bool
    profile: bool


def run_training(
    params: Params, model: str, block: int, inputs: Inputs, out: Path, epochs: int | None, options: Options
) -> None:
    """Train, or go on with, one model at one block size and write it to `out`."""
    device = find_device(options.device, local_rank())
    prepare_torch(device)
    precision = find_precision(options.precision, device)
    with joined(device) as ranks:
        # The profiler sees the thread that started it, and on a GPU the network waits for no thread.
        threads = 1 if options.profile or device.type != "cpu" else options.threads
        machine = Machine(device, precision, options.workers, ranks, threads)
        _train(params, model, block, inputs, out, epochs, options, machine)


def _train(
    params: Params,
    model: str,
    block: int,
    inputs: Inputs,
    out: Path,
    epochs: int | None,
    options: Options,
    machine: Machine,
) -> None:
    """As `run_training`, on a machine."""
    config = _config(params, model, block)
    task = TASKS[config.network.voice].read(config, params.train, inputs)
    sources = list(task.files(inputs))
    if epochs is not None:
        steps = task.train.steps(epochs)
        params = params.replaced(train=replace(params.train, steps=steps))
    trainer = _trainer(params, task, inputs.shards, machine)
    stamp = run_stamp(_decisive(config, params), [*sources, *code_files([*CODE, f"models/{model}"])])
    path = paths.checkpoint(model, block, stamp)
    run_id = None if options.restart else _resume(trainer, path, stamp, options.precision)
    results = paths.of_variant(paths.TRAIN_RESULTS, model, block)
    machine.ranks.check_same(trainer.progress.step)
    if not machine.ranks.first:
        train_all(trainer, path.stem, task.train.seconds)
        return
    with stage(
        "train", params, ["audio", "features", "diffusion", "train", model], model, block, run_id
    ) as run:

        def save() -> None:
            progress, precision = asdict(trainer.progress), trainer.machine.precision
            numbers = {"progress": progress, "precision": precision, "run_id": run.id}
            save_checkpoint(path, stamp, trainer.tensors(), numbers)

        with _profiler(results, options, machine) as stepped:
            every = options.checkpoint_every
            speed = train_all(trainer, path.stem, task.train.seconds, run, save, every, stepped)
        card = _card(params, sources, trainer)
        weights = paths.of_variant(out, model, block, ".safetensors")
        save_voice(weights, task.voice(trainer.result()), card)
        curve = _write_curve(results / "loss.csv", trainer)
        run.metrics({"parameters": sum(p.numel() for p in trainer.denoiser.parameters()), "speed": speed})
        run.artifact(weights)
        run.artifact(curve)
    path.unlink(missing_ok=True)
    typer.echo(f"{weights}: {trainer.progress.step} steps, one-step error {trainer.progress.best:.2f} dB")


def _profiler(folder: Path, options: Options, machine: Machine) -> AbstractContextManager[Callable[[], None]]:
    """A profile of the first steps, if there is to be one; yields what to call after every step."""
    if not options.profile:
        return nullcontext(lambda: None)
    return profiled_steps(folder, machine.device.type == "cuda")


def _config(params: Params, model: str, block: int) -> VoiceConfig:
    """What the voice of a model is built with."""
    network = params.model(model)
    kind = VOICES[network.voice].Config
    sections = {name: getattr(params, name) for name in kind.sections()}
    return kind(model=model, block=block, network=network, **sections)


def _decisive(config: VoiceConfig, params: Params) -> dict[str, Any]:
    """The parameters that a checkpoint belongs to."""
    train, diffusion = asdict(params.train), asdict(params.diffusion)
    return {"config": asdict(config), "train": train, "diffusion": diffusion}


def _resume(trainer: Trainer, path: Path, stamp: str, precision: str) -> str | None:
    """Go on from a checkpoint, if there is one; returns the MLflow run that it belongs to.

    A run keeps its precision wherever it goes on, unless another one is asked for.
    """
    if (found := load_checkpoint(path, stamp)) is None:
        return None
    tensors, numbers = found
    if precision == "auto":
        trainer.machine = replace(trainer.machine, precision=numbers["precision"])
    trainer.restore(tensors, numbers["progress"])
    if trainer.machine.ranks.first:
        typer.echo(f"continuing {path.stem}-{path.parent.name} after step {trainer.progress.step}")
    run_id: str = numbers["run_id"]
    return run_id


def _trainer(params: Params, task: Task, shards: Place, machine: Machine) -> Trainer:
    """A trainer at its first step; it validates by streaming the beginning of the validation split."""
    first = next(iter(read_shards(shards, "validation")))
    excerpt = Excerpt.of(first, params.train.stream_seconds, params.audio.sample_rate)
    torch.manual_seed(weights_seed(params.train.seed))
    return Trainer(
        task.config.new_denoiser(),
        task.train,
        task.validation,
        params.train,
        params.diffusion,
        listen=lambda averaged: excerpt.listen(task.voice(averaged)) if machine.ranks.first else {},
        machine=machine,
    )


def _card(params: Params, sources: list[Path], trainer: Trainer) -> dict[str, Any]:
    """The origin of the weights. It must be the same for two identical runs."""
    return {
        "data": {f"{path.parent.name}/{path.name}": sha256(path) for path in sources},
        "train": asdict(params.train),
        "diffusion": asdict(params.diffusion),
        "validation": trainer.progress.history[-1],
    }


def _write_curve(path: Path, trainer: Trainer) -> Path:
    """Validation history as CSV, one row per validation."""
    rows = trainer.progress.history
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
    return path
