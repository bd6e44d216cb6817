"""What every denoiser is.

Beside the letters of `diffsynth`, shapes use t blocks of f frames each (l = t f frames in a row) and
a context of width h per frame. `encode` runs once over the condition; only `denoise` runs again at
every sampling step.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from diffsynth.diffusion import clean
from diffsynth.errors import UserError

State = tuple[Tensor, ...]
"""All memory between blocks; every tensor has the batch as its first axis."""


class Denoiser(nn.Module, ABC):
    """Predicts v of blocks of frames of k values."""

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """Zeros: the state before the first block of `batch` sequences."""

    @abstractmethod
    def encode(self, cond: Tensor, state: State) -> tuple[Tensor, State]:
        """Context of each block.

        Args:
            cond: Condition [b, t, ..], of whatever shape the model wants for a block.
            state: State before the first of these blocks.

        Returns:
            Context [b, t, ..], block i depending on blocks up to i only, and the state after the last.
        """

    @abstractmethod
    def denoise(self, x_t: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        """Predicted v [b, t, f, k] of noisy blocks, each block by itself.

        Args:
            x_t: Noisy data [b, t, f, k].
            sigma: Noise level of each block [b, t].
            context: From `encode`.
        """

    def feed_back(self, state: State, x: Tensor) -> State:  # noqa: ARG002
        """The state once the blocks have been sampled as x [b, t, f, k]; as it was if x does not matter."""
        return state

    def ignore_noise(self) -> None:
        """Let noise have no influence, now and while it is 0 in training.

        Raises:
            UserError: this network only learns to denoise.
        """
        raise UserError("this network takes noise: set diffusion.objective to velocity or energy")

    def decays(self, name: str, parameter: nn.Parameter) -> bool:  # noqa: ARG002
        """Whether weight decay may draw a parameter to zero: no bias, no scale of a norm, no other vector.

        Args:
            name: Of the parameter, as in `named_parameters`.
            parameter: It.
        """
        return parameter.ndim >= 2

    def forward(self, x_t: Tensor, sigma: Tensor, cond: Tensor, state: State) -> tuple[Tensor, State]:
        """All in one: v [b, t, f, k] and the state after the last block, if x is what v makes of x_t."""
        context, state = self.encode(cond, state)
        v = self.denoise(x_t, sigma, context)
        return v, self.feed_back(state, clean(x_t, v, sigma))
