"""What `diffsynth train` does once its input is known: the run, its checkpoints and its records."""

import csv
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import typer

from diffsynth.runs.files import atomic_path, check_writable, sha256
from diffsynth.runs.tracking import Run
from diffsynth.shards.places import Place
from diffsynth.shards.segments import read_shards
from diffsynth.synthesis.registry import VOICES
from diffsynth.synthesis.voice import Voice, VoiceConfig
from diffsynth.synthesis.weights import check_saved, save_voice
from diffsynth.training.checkpoint import Checkpoint, save_checkpoint
from diffsynth.training.machine import FASTEST, Machine, find_device, find_precision, prepare_torch
from diffsynth.training.origin import Origin, named
from diffsynth.training.probing import EXACT, faster_precision
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
from pipeline.train_resume import Beginning, find, first_voice, keep, origin_of, restore


@dataclass(frozen=True)
class Options:
    """How the machine works, see `pipeline.machine`, and whether to write a profile."""

    threads: int
    checkpoint_every: int
    device: str
    precision: str
    workers: int
    profile: bool


def run_training(
    params: Params,
    model: str,
    block: int,
    inputs: Inputs,
    out: Path,
    epochs: int | None,
    options: Options,
    begin: Beginning,
) -> None:
    """Train, or go on with, one model at one block size and write it to `out`."""
    device = find_device(options.device, local_rank())
    prepare_torch(device)
    precision = find_precision(options.precision, device)
    with joined(device) as ranks:
        # The profiler sees the thread that started it, and on a GPU the network waits for no thread.
        threads = 1 if options.profile or device.type != "cpu" else options.threads
        machine = Machine(device, precision, options.workers, ranks, threads)
        work = _prepare(params, model, block, inputs, out, epochs, options, begin, machine)
        _train(work, options)


@dataclass(frozen=True)
class _Work:
    """One run of training, ready to begin.

    Attributes:
        params: with the steps that it takes.
        model: which network.
        block: in samples.
        weights: file of the voice that it writes.
        begin: where it begins, as the user said.
        task: what is learned from, and how.
        sources: files of its data.
        excerpt: what is validated by.
        trainer: at the first step that is left.
        origin: what decides its steps.
        checkpoint: file of it.
        found: the checkpoint that it goes on from.
    """

    params: Params
    model: str
    block: int
    weights: Path
    begin: Beginning
    task: Task
    sources: list[Path]
    excerpt: Excerpt
    trainer: Trainer
    origin: Origin
    checkpoint: Path
    found: Checkpoint | None

    @property
    def results(self) -> Path:
        """Folder of its records."""
        return paths.of_variant(paths.TRAIN_RESULTS, self.model, self.block)

    def card(self) -> dict[str, Any]:
        """The origin of the weights. It must be the same for two identical runs."""
        first = self.begin.init_from
        return {
            **({} if first is None else {"init_from": {"name": first.name, "sha256": sha256(first)}}),
            "data": {f"{path.parent.name}/{path.name}": sha256(path) for path in self.sources},
            "train": asdict(self.params.train),
            "diffusion": asdict(self.params.diffusion),
            "validation": self.trainer.progress.history[-1],
        }

    def save(self, run: Run) -> None:
        """Write a checkpoint."""
        progress, precision = asdict(self.trainer.progress), self.trainer.machine.precision
        numbers = {"progress": progress, "precision": precision, "run_id": run.id}
        save_checkpoint(self.checkpoint, self.origin, self.trainer.tensors(), numbers)


def _train(work: _Work, options: Options) -> None:
    """Take all steps that are left; the first process writes what comes of them."""
    trainer, found, machine = work.trainer, work.found, work.trainer.machine
    machine.ranks.check_same(trainer.progress.step)
    if not machine.ranks.first:
        train_all(trainer, work.checkpoint.stem, work.task.train.seconds)
        return
    params, model, block = work.params, work.model, work.block
    run_id = None if found is None else found.numbers["run_id"]
    with stage(
        "train", params, ["audio", "features", "diffusion", "train", model], model, block, run_id
    ) as run:
        run.dataset(work.sources[0], "training")
        if found is not None and found.differences:  # parameters of a run cannot be changed in MLflow
            run.tags({"continued_though": named(found.differences)})
        _record(run, work, _take_steps(run, work, options))
    keep(work.checkpoint, model, block)
    done = trainer.progress
    typer.echo(f"{work.weights}: {done.step} steps, one-step error {done.best:.2f} dB")


def _prepare(
    params: Params,
    model: str,
    block: int,
    inputs: Inputs,
    out: Path,
    epochs: int | None,
    options: Options,
    begin: Beginning,
    machine: Machine,
) -> _Work:
    """All that is known before the first step, with the arguments of `run_training`."""
    config = voice_config(params, model, block)
    weights = paths.of_variant(out, model, block, ".safetensors")
    first = None if begin.init_from is None else first_voice(begin.init_from, config, weights)
    task = TASKS[config.network.voice].read(config, params.train, inputs, first)
    sources = list(task.files(inputs))
    if epochs is not None:
        steps = task.train.steps(epochs)
        params = params.replaced(train=replace(params.train, steps=steps))
    excerpt = _excerpt(params, inputs.shards)
    trainer = _trainer(params, task, excerpt, first, machine)
    origin = origin_of(config, params, sources, begin)
    path = paths.checkpoint(model, block, origin.stamp)
    check_writable(path)
    say = typer.echo if machine.ranks.first else lambda _: None
    found = find(path, model, block, origin, begin, say)
    if found is not None:
        restore(trainer, found, f"{model}-{block}", options.precision, say)
    elif options.precision == FASTEST or (options.precision == "auto" and machine.precision != EXACT):
        _choose_precision(trainer, say)
    return _Work(params, model, block, weights, begin, task, sources, excerpt, trainer, origin, path, found)


def _take_steps(run: Run, work: _Work, options: Options) -> float:
    """All steps that are left, with their numbers and checkpoints; see `train_all`."""
    name, seconds, every = work.checkpoint.stem, work.task.train.seconds, options.checkpoint_every
    with _profiler(work.results, options, work.trainer.machine) as stepped:
        return train_all(work.trainer, name, seconds, run, lambda: work.save(run), every, stepped)


def _record(run: Run, work: _Work, speed: float) -> None:
    """Write the voice and its curve, and log both."""
    trainer = work.trainer
    voice, card = work.task.voice(trainer.result()), work.card()
    save_voice(work.weights, voice, card)
    check_saved(work.weights, voice)
    curve = _write_curve(work.results / "loss.csv", trainer)
    run.metrics({"parameters": sum(p.numel() for p in trainer.denoiser.parameters()), "speed": speed})
    run.voice(work.weights, card)
    run.artifact(curve)
    _log_excerpt(run, work.excerpt, voice)


def _choose_precision(trainer: Trainer, say: Callable[[str], None]) -> None:
    """Let a trainer use the precision that is faster here."""
    precision, times = faster_precision(trainer)
    trainer.machine = replace(trainer.machine, precision=precision)
    say(f"{precision}, {times:.2f} times as fast as the other here")


def _profiler(folder: Path, options: Options, machine: Machine) -> AbstractContextManager[Callable[[], None]]:
    """A profile of the first steps, if there is to be one; yields what to call after every step."""
    if not options.profile:
        return nullcontext(lambda: None)
    return profiled_steps(folder, machine.device.type == "cuda")


def voice_config(params: Params, model: str, block: int) -> VoiceConfig:
    """What the voice of a model is built with."""
    network = params.model(model)
    kind = VOICES[network.voice].Config
    sections = {name: getattr(params, name) for name in kind.sections()}
    objective = params.diffusion.objective
    return kind(model=model, block=block, objective=objective, network=network, **sections)


def _excerpt(params: Params, shards: Place) -> Excerpt:
    """What is validated by: the beginning of the validation split."""
    first = next(iter(read_shards(shards, "validation")))
    return Excerpt.of(first, params.train.stream_seconds, params.audio.sample_rate)


def _log_excerpt(run: Run, excerpt: Excerpt, voice: Voice) -> None:
    """The excerpt as the best weights play it, beside the recording, as artifacts."""
    from diffsynth.runs.hearing import write_comparison  # needs matplotlib

    with TemporaryDirectory() as folder:
        rate = voice.config.audio.sample_rate
        run.artifact(write_comparison(Path(folder) / "validation", excerpt.audio, excerpt.play(voice), rate))


def _trainer(params: Params, task: Task, excerpt: Excerpt, first: Voice | None, machine: Machine) -> Trainer:
    """A trainer at its first step, with fresh weights or those of a voice; it validates by the excerpt."""
    torch.manual_seed(weights_seed(params.train.seed))
    denoiser = task.config.new_denoiser()
    if first is not None:
        denoiser.load_state_dict(first.denoiser.state_dict())
    return Trainer(
        denoiser,
        task.train,
        task.validation,
        params.train,
        params.diffusion,
        listen=lambda averaged: excerpt.listen(task.voice(averaged)) if machine.ranks.first else {},
        machine=machine,
    )


def _write_curve(path: Path, trainer: Trainer) -> Path:
    """Validation history as CSV, one row per validation."""
    rows = trainer.progress.history
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
    return path
