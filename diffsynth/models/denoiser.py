"""What every denoiser is: a recurrent trunk over the condition, and a diffusion head per block.

Beside the letters of `diffsynth`, shapes use t blocks of f frames each (l = t f frames in a row) and
a context of width h per frame. The trunk runs once over the condition and carries all memory from
block to block; only the head runs again at every sampling step.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from diffsynth.models.layers import Head

State = tuple[Tensor, ...]
"""All memory between blocks; every tensor has the batch as its first axis."""


class Denoiser(nn.Module, ABC):
    """Predicts v of blocks of gains. Subclasses differ in the trunk only.

    Args:
        bands: k.
        cond: c.
        units: Width of the trunk and of the head.
        cond_units: Width of the embedded condition, e.
    """

    def __init__(self, bands: int, cond: int, units: int, cond_units: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(cond, cond_units), nn.SiLU(), nn.LayerNorm(cond_units))
        self.head = Head(bands, cond_units + units, units)

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """Zeros: the state before the first block of `batch` sequences."""

    @abstractmethod
    def trunk(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The recurrence over frames.

        Args:
            features: Embedded condition [b, l, e].
            state: State before the first of these frames.

        Returns:
            Output [b, l, units], frame i depending on frames up to i only, and the state after the last.
        """

    def encode(self, cond: Tensor, state: State) -> tuple[Tensor, State]:
        """Context of each frame.

        Args:
            cond: Condition [b, t, f, c].
            state: State before the first of these blocks.

        Returns:
            Context [b, t, f, h], frame i depending on frames up to i only, and the state after the last.
        """
        features = self.embed(cond)
        b, t, f, e = features.shape
        hidden, state = self.trunk(features.reshape(b, t * f, e), state)
        return torch.cat([features, hidden.reshape(b, t, f, -1)], -1), state

    def denoise(self, x_t: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        """Predicted v [b, t, f, k] of noisy blocks, each block by itself.

        Args:
            x_t: Noisy gains [b, t, f, k].
            sigma: Noise level of each block [b, t].
            context: From `encode` [b, t, f, h].
        """
        return self.head(x_t, sigma, context)

    def forward(self, x_t: Tensor, sigma: Tensor, cond: Tensor, state: State) -> tuple[Tensor, State]:
        """`encode` and `denoise` in one: v [b, t, f, k] and the state after the last block."""
        context, state = self.encode(cond, state)
        return self.denoise(x_t, sigma, context), state
