"""The processes that train one network together, each on its rows of every batch.

`torchrun` and `accelerate launch` start them, here and on other machines. What a step learns is a function of
seed and step alone: every process draws its rows of the same batch, gradients are added up, and each then
takes the same step with the same weights. So there is nothing else to send, and any number of processes may
go on where others stopped.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from diffsynth.errors import UserError


class Ranks:
    """One process alone: nothing is shared.

    Attributes:
        rank: number of this process, from 0 on.
        count: of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def rows(self, size: int) -> slice:
        """The rows of a batch of so many that this process takes."""
        return slice(size * self.rank // self.count, size * (self.rank + 1) // self.count)

    def add(self, *tensors: Tensor) -> None:
        """Replace tensors by their sums over all processes.

        Raises:
            UserError: another process has ended.
        """

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        total = torch.tensor(float(flag))
        self.add(total)
        return bool(total)

    def check_same(self, step: int) -> None:
        """Compare the step that each process is at.

        Raises:
            UserError: they differ.
        """
        total = torch.tensor(float(step))
        self.add(total)
        if int(total) != step * self.count:
            raise UserError("processes found different checkpoints: let them share the folder checkpoints")


class Group(Ranks):
    """Several processes, joined by Accelerate: gloo on CPUs, NCCL on GPUs."""

    def __init__(self, device: torch.device) -> None:
        from accelerate import PartialState  # takes a second, and most trainings are one process

        state = PartialState(cpu=device.type == "cpu")
        self.rank, self.count, self._device = state.process_index, state.num_processes, device

    def add(self, *tensors: Tensor) -> None:
        """See `Ranks`; in double precision, in one message."""
        flat = torch.cat([tensor.detach().flatten().double() for tensor in tensors]).to(self._device)
        try:
            torch.distributed.all_reduce(flat)
        except RuntimeError as error:
            advice = "start all of them again to go on from the last checkpoint"
            raise UserError(f"another process of this training has ended: {advice}") from error
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.detach().copy_(part.view_as(tensor))


def local_rank() -> int:
    """Number of this process among those on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The processes that were started with this one, which leave each other at the end."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Ranks()
        return
    try:
        yield Group(device)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
