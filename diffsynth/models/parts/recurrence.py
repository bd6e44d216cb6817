"""What carries memory over frames: the one part in which the recurrent denoisers differ."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from diffsynth.models.parts.denoiser import State


class Recurrence(nn.Module, ABC):
    """Layers over sequences of frames; a network has one for everything, and one for all bands."""

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """Zeros: the state before the first frame of `batch` sequences; the batch is the first axis."""

    @abstractmethod
    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run over frames.

        Args:
            x: Input [b, l, inputs].
            state: State before the first of these frames.

        Returns:
            Output [b, l, units], frame i depending on frames up to i only, and the state after the last.
        """
