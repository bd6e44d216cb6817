"""What `diffsynth train` does once its input is known: the run, its checkpoints and its records."""

import csv
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import typer
from tqdm import tqdm

from diffsynth.runs.files import atomic_path, sha256
from diffsynth.runs.resuming import code_files
from diffsynth.runs.tracking import Run
from diffsynth.shards.places import Place
from diffsynth.shards.segments import read_shards
from diffsynth.synthesis.registry import VOICES
from diffsynth.synthesis.voice import VoiceConfig
from diffsynth.synthesis.weights import save_voice
from diffsynth.training.checkpoint import load_checkpoint, run_stamp, save_checkpoint
from diffsynth.training.random_streams import weights_seed
from diffsynth.training.registry import TASKS
from diffsynth.training.task import Inputs, Task
from diffsynth.training.trainer import Trainer
from diffsynth.training.validation import Excerpt
from pipeline import paths
from pipeline.params import Params
from pipeline.stage import stage

# Parts of the library that decide what a checkpoint means, beside the network of its model.
CODE = ("diffusion", "models/parts", "representation", "training")


def run_training(
    params: Params,
    model: str,
    block: int,
    inputs: Inputs,
    out: Path,
    epochs: int | None,
    restart: bool,
    threads: int,
    checkpoint_every: int,
) -> None:
    """Train, or go on with, one model at one block size and write it to `out`."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    config = _config(params, model, block)
    task = TASKS[config.network.voice].read(config, params.train, inputs)
    sources = list(task.files(inputs))
    if epochs is not None:
        steps = task.train.steps(epochs)
        params = params.replaced(train=replace(params.train, steps=steps))
    trainer = _trainer(params, task, inputs.shards)
    stamp = run_stamp(_decisive(config, params), [*sources, *code_files([*CODE, f"models/{model}"])])
    path = paths.checkpoint(model, block, stamp)
    run_id = None if restart else _resume(trainer, path, stamp)
    with stage(
        "train", params, ["audio", "features", "diffusion", "train", model], model, block, run_id
    ) as run:
        run.dataset(next(path for path in sources if path.name == "index.json"), "training")
        _loop(trainer, checkpoint_every, path, stamp, run)
        trainer.denoiser.load_state_dict(trainer.best)
        card = _card(params, sources, trainer)
        weights = paths.of_variant(out, model, block, ".safetensors")
        save_voice(weights, task.voice(trainer.denoiser), card)
        curve = _write_curve(paths.of_variant(paths.TRAIN_RESULTS, model, block) / "loss.csv", trainer)
        run.metrics({"parameters": sum(p.numel() for p in trainer.denoiser.parameters())})
        run.voice(weights, card)
        run.artifact(curve)
    path.unlink(missing_ok=True)
    typer.echo(f"{weights}: {trainer.progress.step} steps, one-step error {trainer.progress.best:.2f} dB")


def _config(params: Params, model: str, block: int) -> VoiceConfig:
    """What the voice of a model is built with."""
    network = params.model(model)
    kind = VOICES[network.voice].Config
    sections = {name: getattr(params, name) for name in kind.sections()}
    objective = params.diffusion.objective
    return kind(model=model, block=block, objective=objective, network=network, **sections)


def _decisive(config: VoiceConfig, params: Params) -> dict[str, Any]:
    """The parameters that a checkpoint belongs to."""
    train, diffusion = asdict(params.train), asdict(params.diffusion)
    return {"config": asdict(config), "train": train, "diffusion": diffusion}


def _resume(trainer: Trainer, path: Path, stamp: str) -> str | None:
    """Go on from a checkpoint, if there is one; returns the MLflow run that it belongs to."""
    if (found := load_checkpoint(path, stamp)) is None:
        return None
    tensors, numbers = found
    trainer.restore(tensors, numbers["progress"])
    typer.echo(f"continuing {path.stem}-{path.parent.name} after step {trainer.progress.step}")
    run_id: str = numbers["run_id"]
    return run_id


def _trainer(params: Params, task: Task, shards: Place) -> Trainer:
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
        listen=lambda averaged: excerpt.listen(task.voice(averaged)),
    )


def _loop(trainer: Trainer, checkpoint_every: int, path: Path, stamp: str, run: Run) -> None:
    """All steps that are left, with progress, metrics and checkpoints, also when interrupted."""
    progress, steps = trainer.progress, trainer.config.steps
    bar = tqdm(total=steps, initial=progress.step, desc=path.stem, unit="step", disable=None)

    def save() -> None:
        numbers = {"progress": asdict(progress), "run_id": run.id}
        save_checkpoint(path, stamp, trainer.tensors(), numbers)

    with bar, _signals() as received:
        for row in trainer.steps():
            run.metrics(row, progress.step)
            bar.update()
            if "one_step_db" in row:
                bar.set_postfix(dB=f"{row['one_step_db']:.2f}")
            if received or progress.step % checkpoint_every == 0:
                save()
            if received:
                break
    for number in received[:1]:
        signal.raise_signal(number)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect signals to stop, which in the middle of a step would leave what no checkpoint may hold."""
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, lambda number, _: received.append(number))
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
