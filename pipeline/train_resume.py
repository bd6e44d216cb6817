"""Where a training run begins: at its checkpoint, at the end of a shorter run, at another voice, or anew."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from diffsynth.errors import UserError
from diffsynth.runs import resuming
from diffsynth.runs.resuming import code_files
from diffsynth.synthesis.voice import Voice, VoiceConfig
from diffsynth.synthesis.weights import load_voice
from diffsynth.training.checkpoint import Checkpoint, load_checkpoint, read_origin
from diffsynth.training.machine import FASTEST
from diffsynth.training.origin import Difference, Origin, flattened, named
from diffsynth.training.trainer import Trainer
from pipeline import paths
from pipeline.params import Params

# Parts of the library that decide what a checkpoint means, beside the network of its model.
CODE = ("diffusion", "models/parts", "representation", "training")


@dataclass(frozen=True)
class Beginning:
    """What the user says about where to begin.

    Attributes:
        restart: anew, whatever there is.
        anyway: also from a checkpoint that other code has written, or with other numbers of `train` that only
            say how to go on (`diffsynth.training.origin.ADJUSTABLE`).
        longer: the number of steps was given for this run, and may be more than before.
        init_from: file of a voice, whose weights are the first.
    """

    restart: bool
    anyway: bool
    longer: bool
    init_from: Path | None


def origin_of(config: VoiceConfig, params: Params, sources: list[Path], begin: Beginning) -> Origin:
    """What decides the steps of a run."""
    configuration = {"train": asdict(params.train), "diffusion": asdict(params.diffusion), **asdict(config)}
    data = {f"{path.parent.name}/{path.name}": path for path in sources}
    if begin.init_from is not None:
        data["--init-from"] = begin.init_from
    files = code_files([*CODE, f"models/{config.model}"])
    code = {f"diffsynth/{file.relative_to(resuming.LIBRARY).as_posix()}": file for file in files}
    return Origin.of(configuration, data, code)


def first_voice(path: Path, config: VoiceConfig, out: Path) -> Voice:
    """The voice of a file, to begin with; what comes of it is written to `out`.

    Raises:
        UserError: there is none, it would be replaced, or was built otherwise; names the first difference.
    """
    if path.resolve() == out.resolve():
        raise UserError(f"{path} would be replaced by what is made of it; choose another --model-save-dir")
    voice = load_voice(path)
    there = dict(flattened(asdict(voice.config)))
    for name, value in flattened(asdict(config)):
        free = name == "block" and config.FOR_ALL_BLOCKS
        if there.get(name) != value and not free:
            raise UserError(
                f"{path} cannot be gone on from: {name} is {there.get(name)} there and {value} here"
            )
    return voice


def find(
    path: Path, model: str, block: int, origin: Origin, begin: Beginning, say: Callable[[str], None]
) -> Checkpoint | None:
    """The checkpoint to go on from, of this run or of a shorter one that has ended; None to begin anew.

    Raises:
        UserError: the run that was interrupted is another one, or has more steps.
    """
    if begin.restart:
        return None

    def accepts(difference: Difference) -> bool:
        return (begin.anyway and difference.acceptable) or (begin.longer and difference.longer)

    found = load_checkpoint(path, origin, accepts)
    ended = paths.finished(model, block)
    was = read_origin(ended) if found is None and begin.longer and ended is not None else None
    if ended is None or was is None:
        return found
    differences = origin.differences(was)
    if all(map(accepts, differences)) and any(difference.longer for difference in differences):
        return load_checkpoint(ended, origin, accepts)
    if wrong := [difference for difference in differences if not accepts(difference)]:
        say(f"beginning anew, not at {ended}: {named(wrong)}")
    return None


def restore(
    trainer: Trainer, found: Checkpoint, name: str, precision: str, say: Callable[[str], None]
) -> None:
    """Go on from a checkpoint; says from where, and what differs.

    A run keeps its precision wherever it goes on, unless one is asked for by its name.

    Raises:
        UserError: it has more steps than the run.
    """
    done, steps, was = found.numbers["progress"]["step"], trainer.config.steps, found.numbers["precision"]
    if done > steps:
        raise UserError(f"{name} has done {done} steps, more than the {steps} of train.steps: use --restart")
    if precision in ("auto", FASTEST):
        trainer.machine = replace(trainer.machine, precision=was)
    trainer.restore(found.tensors, found.numbers["progress"])
    but = f", though {named(found.differences)}" if found.differences else ""
    other = trainer.machine.precision
    say(f"continuing {name} after step {done}{but}" + (f", in {other} after {was}" if other != was else ""))


def keep(path: Path, model: str, block: int) -> None:
    """Put the checkpoint of a run that has ended where one with more steps finds it."""
    ended = paths.finished(model, block)
    if ended is None:
        path.unlink()
    else:
        ended.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, ended)
