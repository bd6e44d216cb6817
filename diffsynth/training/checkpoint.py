"""Resumable checkpoints: tensors and numbers of a training run, stamped with what they belong to."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from diffsynth.errors import UserError
from diffsynth.runs.files import atomic_path, sha256


def run_stamp(configuration: Any, files: list[Path]) -> str:
    """Hash of a configuration (any JSON) and of the contents of files, data and code alike."""
    parts = [json.dumps(configuration, sort_keys=True), *(sha256(file) for file in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def save_checkpoint(
    path: Path, stamp: str, tensors: dict[str, torch.Tensor], numbers: dict[str, Any]
) -> None:
    """Write a checkpoint, atomically; `numbers` is any JSON."""
    header = {"stamp": stamp, "numbers": json.dumps(numbers)}
    with atomic_path(path) as temporary:
        save_file({name: value.contiguous() for name, value in tensors.items()}, str(temporary), header)


def load_checkpoint(path: Path, stamp: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Tensors and numbers of a checkpoint, or None if there is none.

    Raises:
        UserError: it belongs to another configuration, other data or other code, or is damaged.
    """
    if not path.is_file():
        return None
    advice = f"use --restart to train from the beginning, or remove {path}"
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            if header.get("stamp") != stamp:
                raise UserError(
                    f"{path} belongs to another configuration, other data or other code: {advice}"
                )
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(header["numbers"])  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged: {advice}") from error
