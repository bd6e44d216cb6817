"""Resumable checkpoints: tensors and numbers of a training run, with the names of all that decided them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from diffsynth.errors import UserError
from diffsynth.runs.files import atomic_path
from diffsynth.training.origin import Difference, Origin, named


@dataclass(frozen=True)
class Checkpoint:
    """What a run can go on from.

    Attributes:
        tensors: of the trainer.
        numbers: any JSON.
        differences: in which the run that wrote it differs from the one that asks.
    """

    tensors: dict[str, torch.Tensor]
    numbers: dict[str, Any]
    differences: list[Difference]


def save_checkpoint(
    path: Path, origin: Origin, tensors: dict[str, torch.Tensor], numbers: dict[str, Any]
) -> None:
    """Write a checkpoint, atomically; `numbers` is any JSON.

    Raises:
        UserError: it cannot be written; the one that was there is as it was.
    """
    header = {"origin": json.dumps(asdict(origin)), "numbers": json.dumps(numbers)}
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    try:
        with atomic_path(path) as temporary:
            save_file(contiguous, str(temporary), header)
    except (SafetensorError, OSError) as error:
        kept = "; the one before it is kept" if path.is_file() else ""
        raise UserError(f"the checkpoint {path} cannot be written: {error}{kept}") from error


def load_checkpoint(
    path: Path, origin: Origin, accepts: Callable[[Difference], bool] = lambda _: False
) -> Checkpoint | None:
    """A checkpoint, or None if there is none.

    Args:
        path: of the file.
        origin: of the run that is to go on.
        accepts: whether a difference between that run and the one that wrote it may be.

    Raises:
        UserError: it belongs to another run, or is damaged; says in what they differ.
    """
    was = read_origin(path)
    if was is None:
        return None
    differences = origin.differences(was)
    if wrong := [difference for difference in differences if not accepts(difference)]:
        accept = "--resume-anyway to go on from it, " if all(each.acceptable for each in wrong) else ""
        raise UserError(f"{path} belongs to another run: {named(wrong)}; use {accept}{_advice(path)}")
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Checkpoint(tensors, json.loads(file.metadata()["numbers"]), differences)


def read_origin(path: Path) -> Origin | None:
    """What has decided the run that wrote a checkpoint; None if there is none.

    Raises:
        UserError: it is damaged.
    """
    if not path.is_file():
        return None
    with _opened(path) as file:
        header = file.metadata() or {}
        if "origin" not in header:
            raise UserError(f"{path} was written by another version of diffsynth: use {_advice(path)}")
        return Origin(**json.loads(header["origin"]))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged: use {_advice(path)}") from error


def _advice(path: Path) -> str:
    return f"--restart to train from the beginning, or remove {path}"
