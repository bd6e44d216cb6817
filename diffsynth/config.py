"""`params.yaml` as typed, frozen dataclasses: one per section, unknown keys fail.

Units are stated in `params.yaml`, beside the defaults that the pipeline runs with. The library
takes these sections as plain arguments; nothing in it reads a file of parameters by itself.
"""

import dataclasses
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from diffsynth.errors import UserError

DATASETS = ("demo", "folder", "rendered", "maestro")
MODELS = ("lstm", "s6", "unet")
BLOCKS = (512, 1024, 2048, 4096)
BACKENDS = ("torch", "onnx")  # what computes the network


@dataclass(frozen=True)
class Dataset:
    """What `download` brings, and from where."""

    name: str
    root: str | None
    years: list[int] | Literal["all"]
    url: str
    connections: int
    soundfont: str
    program: int
    gain: float
    minutes: float
    seed: int
    validation: float
    test: float
    workers: int


@dataclass(frozen=True)
class AudioFormat:
    """Sample rate and frame length that every later stage works with."""

    sample_rate: int
    frame: int


@dataclass(frozen=True)
class Align:
    """Limits of the alignment of MIDI and audio."""

    max_offset: float
    max_drift: float
    max_residual: float
    min_matched: float
    workers: int


@dataclass(frozen=True)
class Shard:
    """Cutting performances into samples of fixed length."""

    segment: float
    context: float
    samples_per_shard: int
    workers: int


@dataclass(frozen=True)
class Fit:
    """Extent of the modal excitation."""

    minutes: float
    partials: int
    max_frequency: float
    passes: int


@dataclass(frozen=True)
class Features:
    """Band analysis that defines the gains."""

    workers: int
    bands: int
    highest: float
    window: int
    floor: float


@dataclass(frozen=True)
class Diffusion:
    """Diffusion options that are not the optimiser's."""

    ema: float
    validation_sigmas: list[float]


@dataclass(frozen=True)
class Train:
    """Optimisation."""

    steps: int
    batch_size: int
    mini_batch_size: int
    sequence: int
    warmup: int
    learning_rate: float
    weight_decay: float
    clip: float
    validate_every: int
    checkpoint_every: int
    stream_seconds: float
    seed: int
    threads: int


@dataclass(frozen=True)
class Lstm:
    """Size of the LSTM denoiser."""

    units: int
    layers: int
    cond_units: int


@dataclass(frozen=True)
class S6:
    """Size of the selective state space denoiser."""

    units: int
    layers: int
    state: int
    expand: int
    conv: int
    cond_units: int


@dataclass(frozen=True)
class Unet:
    """Size of the published network."""

    width: int


@dataclass(frozen=True)
class Infer:
    """Sampling at render time."""

    steps: int
    seed: int
    threads: int


@dataclass(frozen=True)
class Evaluate:
    """Settings of the published evaluation."""

    fft_sizes: list[int]
    onset_tolerance: float
    pitch_tolerance: float


@dataclass(frozen=True)
class Params:
    """The whole of `params.yaml`."""

    models: list[str]
    blocks: list[int]
    dataset: Dataset
    audio: AudioFormat
    align: Align
    shard: Shard
    fit: Fit
    features: Features
    diffusion: Diffusion
    train: Train
    lstm: Lstm
    s6: S6
    unet: Unet
    infer: Infer
    evaluate: Evaluate

    def model(self, name: str) -> Lstm | S6 | Unet:
        """The section of one model.

        Raises:
            UserError: there is no such model.
        """
        return getattr(self, choice("model", name, MODELS))

    def cell(self, model: str, block: int) -> tuple[str, int]:
        """A model and a block size, checked.

        Raises:
            UserError: one of them is unknown, or a block does not hold a whole number of frames.
        """
        choice("model", model, MODELS)
        choice("block", block, BLOCKS)
        if block % self.audio.frame:
            raise UserError(f"a block of {block} samples does not hold whole frames of {self.audio.frame}")
        return model, block


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
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from error
    for name, value in (overrides or {}).items():
        if value is not None:
            _assign(tree, name, value)
    params: Params = build(Params, tree, str(path))
    for model in params.models:
        choice("model", model, MODELS)
    for block in params.blocks:
        choice("block", block, BLOCKS)
    choice("dataset", params.dataset.name, DATASETS)
    return params


def choice(what: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """`value` if it is allowed.

    Raises:
        UserError: it is not; the message lists what is.
    """
    if value not in allowed:
        raise UserError(f"unknown {what} {value!r}: choose one of {', '.join(map(str, allowed))}")
    return value


def build(kind: Any, value: Any, where: str) -> Any:
    """Check `value` against the type `kind`, making dataclasses of mappings.

    Raises:
        UserError: a key is unknown or missing, or a type is wrong; names the place.
    """
    if dataclasses.is_dataclass(kind):
        return _build_section(kind, value, where)
    if get_origin(kind) in (Union, UnionType):
        if value is None:
            return None
        words = [word for k in get_args(kind) if get_origin(k) is Literal for word in get_args(k)]
        if isinstance(value, str) and value in words:
            return value
        kind = next(k for k in get_args(kind) if k is not type(None))
        return build(kind, value, where)
    if get_origin(kind) is list:
        if not isinstance(value, list):
            raise UserError(f"{where} must be a list, not {value!r}")
        return [build(get_args(kind)[0], item, where) for item in value]
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        # `dvc exp run -S` writes 1e-05, a number to YAML 1.2 but text to PyYAML.
        with suppress(ValueError):
            value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise UserError(f"{where} must be of type {kind.__name__}, not {value!r}")
    if kind is float and not math.isfinite(value):
        raise UserError(f"{where} must be finite, not {value!r}")
    return value


def _build_section(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise UserError(f"{where} must be a section, not {value!r}")
    types = get_type_hints(kind)
    for problem, keys in (("unknown", set(value) - set(types)), ("missing", set(types) - set(value))):
        if keys:
            raise UserError(f"{problem} parameter in {where}: {', '.join(sorted(map(str, keys)))}")
    return kind(**{key: build(types[key], value[key], f"{where}: {key}") for key in types})


def _assign(tree: Any, name: str, value: Any) -> None:
    """Set a value in its section; a section that is missing is left for `build` to report."""
    *path, last = name.split(".")
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    if isinstance(tree, dict):
        tree[last] = value
