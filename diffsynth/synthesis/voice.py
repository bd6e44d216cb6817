"""What every kind of voice is: all that turns MIDI into audio, and how it is kept in a file.

A kind says what is diffused. `diffsynth.synthesis.registry` is the table of kinds.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from numpy.typing import NDArray

from diffsynth.audio.format import AudioFormat
from diffsynth.config import parameters
from diffsynth.errors import UserError
from diffsynth.models.parts.denoiser import Denoiser
from diffsynth.models.parts.parameters import ModelConfig
from diffsynth.synthesis.player import Player

Arrays = dict[str, NDArray[Any]]
DIFFUSION = "velocity"  # the objective of networks that any number of steps can be sampled from
APART = ("model", "block", "objective", "network")  # of a configuration, that are no sections of parameters


@dataclass(frozen=True)
class VoiceConfig(ABC):
    """What a voice was built with; a kind adds the sections that it takes beside these.

    Attributes:
        model: name of the model.
        block: samples of a block.
        audio: rate and frames.
        network: section of the model.
        objective: that the network was trained for (`diffsynth.training.objectives`).
        FOR_ALL_BLOCKS: whether weights learned at one block size play at others as well.
    """

    FOR_ALL_BLOCKS: ClassVar[bool] = False

    model: str
    block: int
    audio: AudioFormat
    network: ModelConfig
    objective: str = field(default=DIFFUSION, kw_only=True)

    @abstractmethod
    def new_denoiser(self) -> Denoiser:
        """A network with fresh weights (torch's global seed decides them)."""

    def check_steps(self, steps: int) -> None:
        """Raise a UserError if the network cannot be sampled from in so many steps."""
        if steps > 1 and self.objective != DIFFUSION:
            raise UserError(f"this voice learned by {self.objective}, which takes one step, not {steps}")

    @classmethod
    def sections(cls) -> dict[str, Any]:
        """Types of the sections of parameters in it, by name, but for that of the model."""
        return {k: v for k, v in parameters(cls).items() if k not in APART}


@dataclass(frozen=True)
class Voice(ABC):
    """A configuration, a network, and what else was fitted or measured for it.

    Attributes:
        Config: class of its configuration.
    """

    Config: ClassVar[type[VoiceConfig]]

    config: VoiceConfig
    denoiser: Denoiser

    @classmethod
    @abstractmethod
    def of(cls, config: Any, denoiser: Denoiser, arrays: Mapping[str, Arrays]) -> Self:
        """A voice of its parts; `arrays` are those of `arrays`, by the name before the dot and the rest.

        Raises:
            UserError: they do not fit together.
        """

    @abstractmethod
    def arrays(self) -> Arrays:
        """All but the network, under the names that they have in a file, "part.name"."""

    @abstractmethod
    def player(self) -> Player:
        """What stands around the network in a stream."""

    @abstractmethod
    def for_hosts(self) -> tuple[dict[str, Any], Arrays]:
        """What a host that has only the network needs beside it: numbers (any JSON) and arrays."""


def check_normaliser(arrays: Arrays, shape: tuple[int, ...]) -> Arrays:
    """The arrays of a normaliser.

    Raises:
        UserError: one is not of `shape`.
    """
    if any(array.shape != shape for array in arrays.values()):
        raise UserError("its normaliser does not fit")
    return arrays
