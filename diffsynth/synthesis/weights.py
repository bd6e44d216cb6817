"""A voice: all that is needed to turn MIDI into audio, in one safetensors file.

The file holds the network, the normaliser and, where gains are diffused, the modal piano; its header
holds the whole configuration, and whatever else a model card wants to state.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from diffsynth.audio.format import BLOCKS
from diffsynth.audio.mel_bands import KNEE
from diffsynth.config import build, choice
from diffsynth.errors import UserError
from diffsynth.models.parts.parameters import RecurrentConfig
from diffsynth.models.registry import MODELS
from diffsynth.runs.files import atomic_path
from diffsynth.synthesis.registry import VOICES
from diffsynth.synthesis.voice import DIFFUSION, Voice, VoiceConfig

FORMAT = "diffsynth voice 1"
# What older voices were built with that do not say so.
OLDER: dict[str, dict[str, Any]] = {
    "audio": {"channels": 1},
    "features": {"noise_bands": 0, "knee": KNEE, "hop": 1, "ages": [1.0]},
    "network": {"band_units": 1, "band_layers": 0, "dropout": 0.0},
}
PARTS = (
    "embed.",
    "trunk.",
    "head.",
    "bands.",
)  # of a recurrent network: all else was its trunk


def save_voice(path: str | Path, voice: Voice, card: Mapping[str, Any]) -> None:
    """Write a voice, atomically; `card` is any JSON that belongs in a model card.

    Raises:
        UserError: it cannot be written.
    """
    tensors = {f"denoiser.{name}": value for name, value in voice.denoiser.state_dict().items()}
    arrays = voice.arrays()
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    # One entry, because safetensors writes several in an order that changes from call to call.
    header = {"config": dataclasses.asdict(voice.config), "card": dict(card)}
    metadata = {FORMAT: json.dumps(header, sort_keys=True)}
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    try:
        with atomic_path(path) as temporary:
            save_file(contiguous, str(temporary), metadata)
    except SafetensorError as error:
        raise UserError(f"cannot write {path}: {error}") from error


def check_saved(path: str | Path, voice: Voice) -> None:
    """Read a voice back that `save_voice` has written, and compare it bit by bit.

    Raises:
        UserError: the file does not hold the voice.
    """
    found = load_voice(path)
    arrays, expected = found.arrays(), voice.arrays()
    state, wanted = found.denoiser.state_dict(), voice.denoiser.state_dict()
    if not (
        found.config == voice.config
        and state.keys() == wanted.keys()
        and arrays.keys() == expected.keys()
        and all(torch.equal(state[name], value) for name, value in wanted.items())
        and all(np.array_equal(arrays[name], value) for name, value in expected.items())
    ):
        raise UserError(f"{path} does not hold what was written to it: the disk may be faulty")


def load_voice(path: str | Path) -> Voice:
    """Read a voice written by `save_voice`, ready for inference.

    Raises:
        UserError: the file is missing, damaged, or not a voice.
    """
    header, tensors = _read(Path(path))
    config = _config(header["config"], str(path))
    groups: dict[str, dict[str, torch.Tensor]] = {"denoiser": {}, "piano": {}, "normaliser": {}}
    for name, value in tensors.items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, {})[rest] = value
    try:
        denoiser = config.new_denoiser()
        denoiser.load_state_dict(_renamed(groups.pop("denoiser"), config))
        denoiser.eval().requires_grad_(False)
        arrays = {group: {name: value.numpy() for name, value in of.items()} for group, of in groups.items()}
        return VOICES[MODELS[config.model].voice].of(config, denoiser, arrays)
    except (RuntimeError, TypeError, UserError) as error:
        raise UserError(f"{path} does not hold what its header describes: {error}") from error


def read_card(path: str | Path) -> dict[str, Any]:
    """The model card in the header of a voice."""
    return _read(Path(path))[0]["card"]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Header ("config", "card") and tensors of a voice."""
    if not path.is_file():
        raise UserError(f"{path} is a folder, not a voice" if path.is_dir() else f"{path} does not exist")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(metadata[FORMAT])
        return {"config": dict(header["config"]), "card": dict(header["card"])}, tensors
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a safetensors file: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a diffsynth voice") from error


def _config(tree: dict[str, Any], where: str) -> VoiceConfig:
    model = choice(f"model in {where}:", tree.get("model"), MODELS)
    network = tree.get("network")
    if issubclass(MODELS[model], RecurrentConfig):
        network = _as_today("network", network)
    network = build(MODELS[model], network, f"{where}: network")
    block = choice(f"block in {where}:", tree.get("block"), BLOCKS)
    kind = VOICES[MODELS[model].voice].Config
    sections = {
        name: build(section, _as_today(name, tree.get(name)), f"{where}: {name}")
        for name, section in kind.sections().items()
    }
    objective = str(tree.get("objective", DIFFUSION))
    return kind(model=model, block=block, objective=objective, network=network, **sections)


def _as_today(name: str, section: Any) -> Any:
    """A section of an older voice: it may name processes, and its gains were one for each frame and band."""
    if not isinstance(section, dict):
        return section
    older = OLDER.get(name, {})
    return older | {k: v for k, v in section.items() if k != "workers"}


def _renamed(tensors: dict[str, torch.Tensor], config: VoiceConfig) -> dict[str, torch.Tensor]:
    """Tensors of a network by the names that they have today."""
    if not isinstance(config.network, RecurrentConfig):
        return tensors
    return {name if name.startswith(PARTS) else f"trunk.{name}": each for name, each in tensors.items()}
