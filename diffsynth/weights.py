"""A voice: all that is needed to turn MIDI into audio, in one safetensors file.

The file holds the network, the modal piano and the normaliser; its header holds the whole
configuration, and whatever else a model card wants to state.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from diffsynth.config import BLOCKS, MODELS, S6, AudioFormat, Features, Lstm, build, choice
from diffsynth.errors import UserError
from diffsynth.excitation.piano import Piano
from diffsynth.files import atomic_path
from diffsynth.models import Denoiser, build_denoiser
from diffsynth.representation import GainField, Normaliser

FORMAT = "diffsynth voice 1"
SECTIONS: dict[str, type[Lstm] | type[S6]] = {"lstm": Lstm, "s6": S6}


@dataclass(frozen=True)
class VoiceConfig:
    """What a voice was built with; `network` is the section of its model."""

    model: str
    block: int
    audio: AudioFormat
    features: Features
    network: Lstm | S6

    @property
    def frames(self) -> int:
        """Frames in a block, f."""
        return self.block // self.audio.frame


@dataclass(frozen=True)
class Voice:
    """A configuration and everything that was fitted or trained for it."""

    config: VoiceConfig
    denoiser: Denoiser
    piano: Piano
    normaliser: Normaliser

    def field(self) -> GainField:
        """The gain field of this piano at this audio format."""
        return GainField(self.piano, self.config.audio, self.config.features)


def new_denoiser(config: VoiceConfig) -> Denoiser:
    """A network with fresh weights (torch's global seed decides them)."""
    return build_denoiser(config.network, config.features.bands, GainField.width(config.features))


def save_voice(path: str | Path, voice: Voice, card: Mapping[str, Any]) -> None:
    """Write a voice, atomically; `card` is any JSON that belongs in a model card."""
    tensors = {f"denoiser.{name}": value for name, value in voice.denoiser.state_dict().items()}
    arrays: dict[str, NDArray[Any]] = {
        f"piano.{name}": array for name, array in voice.piano.tensors().items()
    }
    arrays |= {"normaliser.mean": voice.normaliser.mean, "normaliser.scale": voice.normaliser.scale}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    # One entry, because safetensors writes several in an order that changes from call to call.
    header = {"config": dataclasses.asdict(voice.config), "card": dict(card)}
    metadata = {FORMAT: json.dumps(header, sort_keys=True)}
    with atomic_path(path) as temporary:
        save_file({name: value.contiguous() for name, value in tensors.items()}, str(temporary), metadata)


def load_voice(path: str | Path) -> Voice:
    """Read a voice written by `save_voice`, ready for inference.

    Raises:
        UserError: the file is missing, damaged, or not a voice.
    """
    header, tensors = _read(Path(path))
    config = _config(header["config"], str(path))
    denoiser = new_denoiser(config)
    groups: dict[str, dict[str, torch.Tensor]] = {"denoiser": {}, "piano": {}, "normaliser": {}}
    for name, value in tensors.items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, {})[rest] = value
    try:
        denoiser.load_state_dict(groups["denoiser"])
        normaliser = Normaliser(**{name: value.numpy() for name, value in groups["normaliser"].items()})
        piano = Piano.from_tensors({name: value.numpy() for name, value in groups["piano"].items()})
    except (RuntimeError, TypeError, UserError) as error:
        raise UserError(f"{path} does not hold what its header describes: {error}") from error
    if not normaliser.mean.shape == normaliser.scale.shape == (config.features.bands,):
        raise UserError(f"{path} does not hold what its header describes: its normaliser does not fit")
    return Voice(config, denoiser.eval().requires_grad_(False), piano, normaliser)


def read_card(path: str | Path) -> dict[str, Any]:
    """The model card in the header of a voice."""
    return _read(Path(path))[0]["card"]


def find_weights(model: str, block: int, given: Path | None, released: Path, trained: Path) -> Path:
    """The voice to use: the one given, else the released one, else what the pipeline trained.

    Raises:
        UserError: there is none; says what to run.
    """
    choice("model", model, MODELS)
    choice("block", block, BLOCKS)
    if given is not None:
        if not given.is_file():
            raise UserError(f"{given} does not exist")
        return given
    for folder in (released, trained):
        path = folder / str(block) / f"{model}.safetensors"
        if path.is_file():
            return path
    raise UserError(f"no weights for {model} at {block}: run `dvc repro train@{model}-{block}` first")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Header ("config", "card") and tensors of a voice."""
    if not path.is_file():
        raise UserError(f"{path} does not exist")
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
    network = build(SECTIONS[model], tree.pop("network", None), f"{where}: network")
    audio = build(AudioFormat, tree.pop("audio", None), f"{where}: audio")
    features = build(Features, tree.pop("features", None), f"{where}: features")
    block = choice(f"block in {where}:", tree.get("block"), BLOCKS)
    return VoiceConfig(model, block, audio, features, network)
