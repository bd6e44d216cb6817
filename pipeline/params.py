"""`params.yaml`: which sections there are, and reading them.

Every section that a file holds is checked when it is read. One that it lacks matters only to a command
that asks for it.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import yaml

from diffsynth.alignment.config import Align
from diffsynth.audio.format import BLOCKS, AudioFormat
from diffsynth.config import NotEmpty, build, check_keys, choice
from diffsynth.datasets.registry import read_source
from diffsynth.datasets.source import Source
from diffsynth.errors import UserError
from diffsynth.evaluation.config import Evaluate
from diffsynth.fitting.config import Fit
from diffsynth.models.parts.parameters import ModelConfig
from diffsynth.models.registry import MODELS
from diffsynth.representation.config import Features
from diffsynth.shards.config import Shard
from diffsynth.synthesis.config import Infer
from diffsynth.training.config import Diffusion, Train


class Params:
    """What a file of parameters holds: its sections, and those of models by `model`.

    A section that the file lacks raises a UserError when it is asked for.
    """

    models: Annotated[list[str], NotEmpty()]
    blocks: Annotated[list[int], NotEmpty()]
    dataset: Source
    audio: AudioFormat
    align: Align
    shard: Shard
    fit: Fit
    features: Features
    diffusion: Diffusion
    train: Train
    infer: Infer
    evaluate: Evaluate

    def __init__(self, file: str, sections: Mapping[str, Any]) -> None:
        self._file = file
        self.__dict__.update(sections)

    if not TYPE_CHECKING:  # or every name would pass for a section

        def __getattr__(self, name: str) -> Any:
            """What is asked for and is not there."""
            if name.startswith("_"):
                raise AttributeError(name)
            raise UserError(f"{self._file} has no section {name}, which this command needs")

    def model(self, name: str) -> ModelConfig:
        """The section of one model.

        Raises:
            UserError: there is no such model, or no section of it.
        """
        section: ModelConfig = getattr(self, choice("model", name, MODELS))
        return section

    def variant(self, model: str, block: int) -> tuple[str, int]:
        """A model and a block size, checked.

        Raises:
            UserError: one of them is unknown, or a block does not hold whole frames, or whole hops of gains.
        """
        choice("model", model, MODELS)
        choice("block", block, BLOCKS)
        if block % self.audio.frame:
            raise UserError(f"a block of {block} samples does not hold whole frames of {self.audio.frame}")
        if block // self.audio.frame % (hop := self.features.hop):
            raise UserError(f"a block of {block} samples does not hold whole hops of {hop} frames")
        return model, block

    def replaced(self, **sections: Any) -> "Params":
        """The same parameters with other sections in place of some."""
        held = {name: value for name, value in vars(self).items() if name != "_file"}
        return Params(self._file, held | sections)

    def values(self, section: str) -> dict[str, Any]:
        """The values of a section, by key."""
        found = getattr(self, section)
        return ({"name": found.name} if isinstance(found, Source) else {}) | asdict(found)


SECTIONS: dict[str, Any] = get_type_hints(Params, include_extras=True)
"""Types of everything that a file may hold, by name, but for the sections of models."""


def load_params(path: str | Path = "params.yaml", overrides: Mapping[str, Any] | None = None) -> Params:
    """Read `params.yaml`; `overrides` maps dotted names ("train.steps") to values.

    An override of None is ignored, so that options not given can be passed as they are.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown or missing, or a value has
            the wrong type.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; run this in the repository") from error
    except (OSError, yaml.YAMLError, ValueError, KeyError, RecursionError) as error:
        # A date that does not exist, a number of no digits: PyYAML lets Python's own errors through.
        raise UserError(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from error
    for name, value in (overrides or {}).items():
        if value is not None:
            _assign(tree, name, value)
    return read_params(tree, str(path))


def read_params(tree: Any, where: str) -> Params:
    """Check all that a file holds; `where` names it in messages.

    Raises:
        UserError: see `load_params`.
    """
    if not isinstance(tree, Mapping):
        raise UserError(f"{where} must be a section, not {tree!r}")
    kinds = {**SECTIONS, **MODELS}
    check_keys(tree, kinds, [], where)
    sections: dict[str, Any] = {
        name: read_source(value, f"{where}: {name}")
        if kinds[name] is Source
        else build(kinds[name], value, f"{where}: {name}")
        for name, value in tree.items()
    }
    for model in sections.get("models", []):
        choice("model", model, MODELS)
    for block in sections.get("blocks", []):
        choice("block", block, BLOCKS)
    return Params(where, sections)


def _assign(tree: Any, name: str, value: Any) -> None:
    """Set a value in its section; a missing section is reported when it is read."""
    *path, last = name.split(".")
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    if isinstance(tree, dict):
        tree[last] = value
