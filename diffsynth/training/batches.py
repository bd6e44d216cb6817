"""Training data as the trainer sees it: the batch of every step, and what an error means to the ear."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from diffsynth.errors import UserError
from diffsynth.models.parts.denoiser import State


@dataclass(frozen=True)
class Batch:
    """Sequences of t blocks each.

    Attributes:
        cond: [b, t, ..] condition, of whatever shape the model wants for a block.
        state: of the network before the first block; None if sequences begin with the condition.
        x: [b, t, f, k] clean data, normalised.
        weight: [b, t, f, k] how much each value counts.
        levels: [b, t, f, parts, bands] what `Examples.heard` takes of the recording, if it takes anything.
        learned: [b, t, f, 1] 1 where sequences carry loss, 0 where they do not.
        sounds: what `Examples.sound_distance` takes, [b, rows, ..] from the first frame on; None: nothing.
        piece: [b] number of the performance that a sequence is from, in its split; None: not known.
        lead: blocks at the beginning of all sequences in which nothing counts.
    """

    cond: Tensor
    state: State | None
    x: Tensor
    weight: Tensor
    levels: Tensor
    learned: Tensor
    sounds: Tensor | None = None
    piece: Tensor | None = None
    lead: int = 0

    def part(self, rows: slice) -> "Batch":
        """Some of the sequences."""
        return self._each(lambda tensor: tensor[rows])

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The same where a GPU fetches it while the CPU goes on; called by a `DataLoader`."""
        return self._each(lambda tensor: tensor.pin_memory())

    def counted(self) -> "Batch":
        """The same data without the blocks in which nothing counts; the condition stays whole."""
        return replace(
            self,
            x=self.x[:, self.lead :],
            weight=self.weight[:, self.lead :],
            levels=self.levels[:, self.lead :],
            learned=self.learned[:, self.lead :],
            sounds=None if self.sounds is None else self.sounds[:, self.lead * self.x.shape[2] :],
            lead=0,
        )

    @staticmethod
    def of_data(cond: Tensor, state: State | None, x: Tensor) -> "Batch":
        """Data of which all counts, and of which nothing else is known than itself."""
        ones = torch.ones_like(x)
        return Batch(cond, state, x, ones, x[:, :, :, None], ones[..., :1])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        state = None if self.state is None else tuple(map(change, self.state))
        names = ["cond", "x", "weight", "levels", "learned"]
        names += [name for name in ("sounds", "piece") if getattr(self, name) is not None]
        moved: dict[str, Any] = {name: change(getattr(self, name)) for name in names}
        return replace(self, state=state, **moved)


class Examples(ABC):
    """One split of the data, in the form that one model and block size needs.

    Attributes:
        seconds: of the recordings in a batch, as counted by `steps`.

    A batch is a pure function of the seed and the step. It depends neither on what was drawn before nor on
    who draws it: workers of a loader take steps in turn, ranks take rows of every step.
    """

    seconds: float

    @abstractmethod
    def draw(self, step: int, rows: slice = slice(None)) -> Batch:
        """The batch of a step, from 0 on, or some of its rows.

        Raises:
            UserError: a shard is missing or damaged.
        """

    @abstractmethod
    def fixed(self, count: int) -> Batch:
        """So many sequences, or all if there are fewer, spread over the split, always the same."""

    def parameters(self, device: torch.device) -> list[nn.Parameter]:  # noqa: ARG002
        """What is not known of these examples, and is learned beside the network, on a device from now on."""
        return []

    @abstractmethod
    def heard(self, x: Tensor, batch: Batch) -> Tensor:
        """What the ear gets of data x, [b, t, f, k]: numbers that one subtracts, [b, t, f, n]."""

    @abstractmethod
    def recorded(self, batch: Batch) -> Tensor:
        """The same of the recording itself."""

    def sound_distance(self, x: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002
        """How far the sound of data x, [b, t, f, k], is from that of the recording, [b].

        Raises:
            UserError: these examples hold no sound.
        """
        raise UserError("these examples hold no sound: diffusion.objective cannot be spectra")

    @abstractmethod
    def error_db(self, found: Tensor, batch: Batch) -> float:
        """How far data that was sampled, [b, t, f, k], is from that of the batch; less is better."""

    @abstractmethod
    def steps(self, epochs: int) -> int:
        """Optimiser steps that see all of the data `epochs` times."""
