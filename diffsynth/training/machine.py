"""Where a network is trained: the device, how exact its products are, and who prepares the batches.

None of it belongs to what is learned. Random numbers are drawn on the CPU whatever the device, so that
every device sees the same batches, noise levels and noise.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch

from diffsynth.errors import UserError
from diffsynth.training.ranks import Ranks

FASTEST = "fastest"  # measured once there is a trainer, see `diffsynth.training.probing`
PRECISIONS = ("auto", FASTEST, "float32", "bfloat16")


@dataclass(frozen=True)
class Machine:
    """What a trainer works with.

    Attributes:
        device: that the network is on.
        precision: "bfloat16": products in half precision, where autocast allows it; "float32".
        workers: processes that prepare batches ahead of time; 0 prepares them when they are needed.
        ranks: the processes that train together.
        threads: that share the rows of a batch, on a CPU; rounding depends on them.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "float32"
    workers: int = 0
    ranks: Ranks = field(default_factory=Ranks)
    threads: int = 1

    def autocast(self) -> AbstractContextManager[None]:
        """Lowers the precision of products while it lasts, if it is to be low."""
        if self.precision != "bfloat16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def find_device(name: str, local_rank: int = 0) -> torch.device:
    """The device that a name stands for.

    Args:
        name: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".
        local_rank: number of this process among those on its machine: "cuda" is the GPU of that number.

    Raises:
        UserError: there is no such device.
    """
    kind, colon, number = name.partition(":")
    if name not in ("auto", "cpu", "cuda") and not (kind == "cuda" and colon and number.isdecimal()):
        raise UserError(f"there is no device {name!r}: choose auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    # `accelerate launch --cpu` says what "auto" is.
    if name == "cpu" or (name == "auto" and (not count or os.environ.get("ACCELERATE_USE_CPU") == "true")):
        return torch.device("cpu")
    if number and int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > 1:
        raise UserError(f"{name}: of several processes each takes a GPU of its own; say --device cuda")
    index = int(number) if number else local_rank
    if not count:
        raise UserError(f"{name}: PyTorch finds no GPU here; --device cpu or auto trains without one")
    if index >= count:
        raise UserError(f"{name}: there is no GPU of number {index}, only {count}, from 0 on")
    return torch.device("cuda", index)


def find_precision(name: str, device: torch.device) -> str:
    """The precision to begin with: that of the name, or bfloat16 on a GPU that has it, else float32.

    Which is faster is measured for "fastest", and for "auto" on a GPU that has both, where runs differ anyway
    (`diffsynth.training.probing`). A CPU is not asked for "auto": the answer would change with what else it
    does, and the weights with the answer.

    Raises:
        UserError: there is no such precision.
    """
    if name not in PRECISIONS:
        raise UserError(f"there is no precision {name!r}: choose one of {', '.join(PRECISIONS)}")
    if name not in ("auto", FASTEST):
        return name
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def prepare_torch(device: torch.device) -> None:
    """Settings of the process: the same numbers in every run on a CPU, and no threads but the trainer's own.

    On a GPU runs differ in the last digits: some of its kernels add in any order.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(device.type == "cpu")
    # Meant for the search for bugs; takes 5 % of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
