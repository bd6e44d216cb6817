"""One block of inference as a pure function of arrays, whatever computes it.

A step takes the condition of a block, its noise and the memory, and returns normalised data and the
memory afterwards. `BlockStep` defines it; `TorchStep` computes it here; exported, it runs anywhere.
"""

import warnings
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffsynth.diffusion import sample_levels, schedule
from diffsynth.models.parts.denoiser import Denoiser

Array = NDArray[np.float32]
Memory = tuple[Array, ...]
"""All that a network carries from block to block; each array begins with a batch axis of 1."""


class Step(Protocol):
    """Computes one block."""

    def initial(self) -> Memory:
        """The memory before the first block."""
        ...

    def __call__(self, condition: Array, noise: Array, memory: Memory) -> tuple[Array, Memory]:
        """Normalised data [f, k] from the condition of a block and standard normal noise [f, k]."""
        ...


class BlockStep(nn.Module):
    """A denoiser and its sampler as one module without choices, to be traced or exported.

    Args:
        denoiser: the network.
        steps: of the sampler.
    """

    levels: Tensor

    def __init__(self, denoiser: Denoiser, steps: int) -> None:
        super().__init__()
        self.denoiser = denoiser
        # Constants, so that whatever depends on them only is computed once, when the module is compiled.
        self.register_buffer("levels", schedule(steps)[:, None, None], persistent=False)

    def forward(self, condition: Tensor, noise: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """Data [f, k] and the new memory, from a condition [..], noise [f, k] and memory."""
        context, memory = self.denoiser.encode(condition[None, None], memory)
        x = sample_levels(
            lambda x_t, sigma: self.denoiser.denoise(x_t, sigma, context), noise[None, None], self.levels
        )
        return x[0, 0], *self.denoiser.feed_back(memory, x)


class TorchStep:
    """A step traced by TorchScript: the same numbers as the network itself in half of the time.

    At a few frames a block, most of the time of an eager network goes into Python and dispatch.

    Args:
        denoiser: the network, in evaluation mode.
        condition: shape of the condition of a block.
        shape: f and k.
        steps: of the sampler.
    """

    def __init__(
        self, denoiser: Denoiser, condition: tuple[int, ...], shape: tuple[int, int], steps: int
    ) -> None:
        self._initial = denoiser.initial_state(1)
        example = torch.zeros(condition), torch.zeros(shape), *self._initial
        with warnings.catch_warnings(), torch.no_grad():
            # TorchScript is called deprecated from time to time; what is to replace it compiles for
            # minutes and does not know LSTMs.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(BlockStep(denoiser, steps).eval(), example, check_trace=False)
            self._step = torch.jit.freeze(traced)
            for _ in range(2):  # it optimises itself in its first calls
                self._step(*example)

    def initial(self) -> Memory:
        """See `Step`."""
        return tuple(tensor.numpy().copy() for tensor in self._initial)

    @torch.inference_mode()
    def __call__(self, condition: Array, noise: Array, memory: Memory) -> tuple[Array, Memory]:
        """See `Step`."""
        x, *after = self._step(*map(torch.from_numpy, (condition, noise, *memory)))
        return x.numpy(), tuple(tensor.numpy() for tensor in after)
