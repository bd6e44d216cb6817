"""What a kind of voice needs to be trained: files, examples of both splits, and the voice of a network.

`diffsynth.training.registry` is the table of kinds.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from diffsynth.models.parts.denoiser import Denoiser
from diffsynth.shards.places import Place
from diffsynth.synthesis.voice import Voice
from diffsynth.training.batches import Examples
from diffsynth.training.config import Train


@dataclass(frozen=True)
class Inputs:
    """Where earlier stages have left what training reads; shards and features may lie at a URL."""

    shards: Place
    features: Place
    piano: Path


@dataclass(frozen=True)
class Task(ABC):
    """One model at one block size.

    Attributes:
        config: of the voice.
        train: examples to learn from.
        validation: examples to measure by.
    """

    config: Any
    train: Examples
    validation: Examples

    @staticmethod
    @abstractmethod
    def files(inputs: Inputs) -> dict[Path, str]:
        """The files that decide what is learned, and the command that makes each.

        An index stands for its shards, of which it holds the checksums. The first is that of the data.
        """

    @classmethod
    @abstractmethod
    def read(cls, config: Any, train: Train, inputs: Inputs, begin: Voice | None = None) -> Self:
        """The task of a voice's configuration.

        Args:
            config: of the voice.
            train: how examples are cut.
            inputs: what earlier stages have left.
            begin: voice whose weights training begins with, and whose normaliser it keeps: weights mean
                something in the units only that they have learned in.

        Raises:
            UserError: a file is missing or damaged, or holds too little.
        """

    @abstractmethod
    def voice(self, denoiser: Denoiser) -> Voice:
        """The voice of a network."""
