"""Seeds of what layers drop, one for each row of a batch, so that its division does not matter."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_SEEDS: ContextVar[Sequence[int]] = ContextVar("seeds of rows", default=())


@contextmanager
def seeded_rows(seeds: Sequence[int]) -> Iterator[None]:
    """Rows have these seeds while it lasts, in this thread."""
    token = _SEEDS.set(seeds)
    try:
        yield
    finally:
        _SEEDS.reset(token)


def row_seeds() -> Sequence[int]:
    """Seeds of the rows; none if nobody has set any."""
    return _SEEDS.get()


def draw_rows(shape: Sequence[int], device: torch.device) -> Tensor:
    """Numbers from 0 to 1 for each row by its seed; without seeds, by PyTorch's own generator.

    Args:
        shape: [b, ..], several rows for each seed if they follow each other.
        device: that draws; a CPU and a GPU draw different numbers.
    """
    if not (seeds := row_seeds()):
        return torch.rand(shape, device=device)
    part = shape[0] // len(seeds), *shape[1:]
    generators = (torch.Generator(device).manual_seed(seed) for seed in seeds)
    return torch.cat([torch.rand(part, device=device, generator=each) for each in generators])
