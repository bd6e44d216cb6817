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
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from diffsynth.errors import UserError

DATASETS = ("demo", "folder", "rendered", "maestro")
MODELS = ("lstm", "s6", "unet")
BLOCKS = (512, 1024, 2048, 4096)
BACKENDS = ("torch", "onnx")  # what computes the network


@dataclass(frozen=True)
class Within:
    """Values that a parameter may have: from `least` to `most`, `least` itself only if not `above` it."""

    least: float
    most: float = math.inf
    above: bool = False

    def check(self, value: float, where: str) -> None:
        """Raise a UserError that names the place, if `value` lies outside."""
        if value < self.least or (self.above and value == self.least):
            raise UserError(
                f"{where} must be {'above' if self.above else 'at least'} {self.least:g}, not {value!r}"
            )
        if value > self.most:
            raise UserError(f"{where} must be at most {self.most:g}, not {value!r}")


@dataclass(frozen=True)
class NotEmpty:
    """Lists that a parameter may have."""

    def check(self, value: list[Any], where: str) -> None:
        """Raise a UserError that names the place, if there is nothing in `value`."""
        if not value:
            raise UserError(f"{where} must not be empty")


Count = Annotated[int, Within(1)]
Natural = Annotated[int, Within(0)]
Seed = Annotated[int, Within(0, 2**63 - 1)]
Positive = Annotated[float, Within(0, above=True)]
NotNegative = Annotated[float, Within(0)]
Share = Annotated[float, Within(0, 1)]


@dataclass(frozen=True)
class Dataset:
    """What `download` brings, and from where."""

    name: str
    root: str | None
    years: list[int] | Literal["all"]
    url: str
    connections: Count
    soundfont: str
    program: Natural
    gain: NotNegative
    minutes: Positive
    seed: Seed
    validation: Share
    test: Share
    workers: Count


@dataclass(frozen=True)
class AudioFormat:
    """Sample rate and frame length that every later stage works with."""

    sample_rate: Count
    frame: Count


@dataclass(frozen=True)
class Align:
    """Limits of the alignment of MIDI and audio."""

    max_offset: NotNegative
    max_drift: NotNegative
    max_residual: NotNegative
    min_matched: Share
    workers: Count


@dataclass(frozen=True)
class Shard:
    """Cutting performances into samples of fixed length."""

    segment: Annotated[float, Within(0, 600, above=True)]  # it is in memory as a whole
    context: NotNegative
    samples_per_shard: Count
    workers: Count


@dataclass(frozen=True)
class Fit:
    """Extent of the modal excitation."""

    minutes: Positive
    partials: Count
    max_frequency: Positive
    passes: Natural
    jitter: Annotated[float, Within(0, 0.1)]


@dataclass(frozen=True)
class Features:
    """Band analysis that defines the gains."""

    workers: Count
    bands: Count
    highest: Positive
    window: Count
    floor: float


@dataclass(frozen=True)
class Diffusion:
    """Diffusion options that are not the optimiser's."""

    ema: Share
    validation_sigmas: Annotated[list[Share], NotEmpty()]


@dataclass(frozen=True)
class Train:
    """Optimisation."""

    steps: Count
    batch_size: Count
    mini_batch_size: Count
    sequence: Count
    warmup: Natural
    learning_rate: NotNegative
    weight_decay: NotNegative
    clip: Positive
    validate_every: Count
    checkpoint_every: Count
    stream_seconds: Positive
    seed: Seed
    threads: Count


@dataclass(frozen=True)
class Lstm:
    """Size of the LSTM denoiser."""

    units: Count
    layers: Count
    cond_units: Count


@dataclass(frozen=True)
class S6:
    """Size of the selective state space denoiser."""

    units: Count
    layers: Count
    state: Count
    expand: Count
    conv: Count
    cond_units: Count


@dataclass(frozen=True)
class Unet:
    """Size of the published network."""

    width: Count


@dataclass(frozen=True)
class Infer:
    """Sampling at render time."""

    steps: Count
    seed: Seed
    threads: Count


@dataclass(frozen=True)
class Evaluate:
    """Settings of the published evaluation."""

    fft_sizes: Annotated[list[Annotated[int, Within(4)]], NotEmpty()]
    onset_tolerance: Positive
    pitch_tolerance: Positive


@dataclass(frozen=True)
class Params:
    """The whole of `params.yaml`."""

    models: Annotated[list[str], NotEmpty()]
    blocks: Annotated[list[int], NotEmpty()]
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

    def variant(self, model: str, block: int) -> tuple[str, int]:
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
    if get_origin(kind) is Annotated:
        kind, limits = get_args(kind)
        value = build(kind, value, where)
        limits.check(value, where)
        return value
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
    types = get_type_hints(kind, include_extras=True)
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
