"""Training on every device of a machine, in one run: how fast, and whether the same is learned.

    python benchmarks/devices.py [--devices cpu cuda] [--data data] [--params params.yaml]
        [--models lstm s6] [--blocks 512 4096] [--steps 200] [--threads 2] [--workers 4]
        [--compiled] [--out FOLDER]

Every row is a training from the same seed: the same weights at the start, batches and noise. The speed is
that of the second half of the steps, loading included. The loss is the mean of the last twenty steps, and
beside it is how far that is from the loss of the first row of the same model and block. On a GPU both
precisions are tried. `--compiled` adds rows with `torch.compile`. `--out` keeps the voices, which play on
any machine (`diffsynth render --weights`).
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from diffsynth.errors import UserError
from diffsynth.synthesis.weights import save_voice
from diffsynth.training.machine import Machine, find_device, prepare_torch
from diffsynth.training.random_streams import weights_seed
from diffsynth.training.registry import TASKS
from diffsynth.training.task import Inputs
from diffsynth.training.trainer import Trainer
from pipeline import paths
from pipeline.params import load_params
from pipeline.train_run import voice_config

LAST = 20  # steps whose losses are compared
LEAST = 4  # steps
NEVER = 10**9


@dataclass(frozen=True)
class Row:
    """A training: seconds of audio in a second, the mean loss at its end, and GPU memory in MB."""

    speed: float
    loss: float
    memory: float


def inputs_of(data: Path) -> Inputs:
    """What the stages before `train` have written."""
    return Inputs(data / paths.SHARDS.name, data / paths.FEATURES.name, data / "fit" / paths.FIT.name)


def compiled(denoiser: torch.nn.Module) -> None:
    """Let PyTorch compile both parts of a network."""
    for name in ("encode", "denoise"):
        setattr(denoiser, name, torch.compile(getattr(denoiser, name)))


def train(options: argparse.Namespace, model: str, block: int, machine: Machine, compile_it: bool) -> Row:
    """Train from the beginning; the last step is not a validation."""
    params = load_params(options.params)
    short = replace(params.train, steps=options.steps + 1, validate_every=NEVER)
    task = TASKS[params.model(model).voice].read(
        voice_config(params, model, block), short, inputs_of(options.data)
    )
    torch.manual_seed(weights_seed(short.seed))
    denoiser = task.config.new_denoiser()
    if compile_it:
        compiled(denoiser)
    trainer = Trainer(denoiser, task.train, task.validation, short, params.diffusion, machine=machine)
    losses, moments = [], []
    steps = trainer.steps()
    for _ in range(options.steps):
        losses.append(next(steps)["loss"])
        moments.append(time.perf_counter())
    steps.close()
    half = len(moments) // 2
    speed = task.train.seconds * (len(moments) - 1 - half) / (moments[-1] - moments[half])
    on_gpu = machine.device.type == "cuda"
    memory = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else 0.0
    if options.out and not compile_it:
        name = f"{model}-{machine.device.type}-{machine.precision}.safetensors"
        (options.out / str(block)).mkdir(parents=True, exist_ok=True)
        save_voice(options.out / str(block) / name, task.voice(trainer.denoiser.cpu()), {})
    return Row(speed, float(np.mean(losses[-LAST:])), memory)


def machines(options: argparse.Namespace) -> Iterator[tuple[str, Machine, bool]]:
    """What is trained on, by name, and whether it is compiled."""
    for name in options.devices:
        device = find_device(name)
        on_gpu = device.type == "cuda"
        threads = 1 if on_gpu else options.threads
        precisions = ("float32", "bfloat16") if on_gpu else ("float32",)
        for precision, compile_it in product(precisions, (False, True)[: 1 + options.compiled]):
            label = f"{name}, {precision}" + ("" if on_gpu else f", {threads} threads")
            machine = Machine(device, precision, options.workers, threads=threads)
            yield label + ", compiled" * compile_it, machine, compile_it


def positive(text: str) -> int:
    """A whole number above 0."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", nargs="+", default=["cpu", "cuda"])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--models", nargs="+", default=["lstm", "s6"])
    parser.add_argument("--blocks", nargs="+", type=int, default=[512, 4096])
    parser.add_argument("--steps", type=positive, default=200)
    parser.add_argument("--threads", type=positive, default=2, help="that share a batch, on the CPU")
    parser.add_argument("--workers", type=positive, default=4, help="processes that prepare batches")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.steps < LEAST:
        parser.error(f"--steps must be at least {LEAST}, of which the second half is timed")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    return parser, options


def main() -> None:
    """Print a row for each model, block and device."""
    parser, options = arguments()
    try:
        trained_on = list(machines(options))
        params = load_params(options.params)
        variants = [params.variant(*each) for each in product(options.models, options.blocks)]
        print("| model | block | device | times real time | loss | of the first | GPU memory (MB) |")
        print("|---|---:|---|---:|---:|---:|---:|", flush=True)
        for model, block in variants:
            first = None
            for label, machine, compile_it in trained_on:
                prepare_torch(machine.device)
                row = train(options, model, block, machine, compile_it)
                first = first or row
                print(
                    f"| {model} | {block} | {label} | {row.speed:.0f} | {row.loss:.4f} | "
                    f"{row.loss / first.loss:.3f} | {row.memory:.0f} |",
                    flush=True,
                )
    except (UserError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
