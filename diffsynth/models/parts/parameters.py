"""What every model's section of `params.yaml` is: sizes, and the network that they describe.

These classes do without PyTorch, whose import takes seconds: checking parameters and `--help` need none.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from diffsynth.models.parts.denoiser import Denoiser


@dataclass(frozen=True)
class ModelConfig(ABC):
    """The parameters of one model, a frozen dataclass.

    Attributes:
        voice: what the model diffuses, a name in `diffsynth.synthesis.registry.VOICES`.
        objective: that it learns by, whatever `diffusion.objective` says; None: by that.
        sizes: parameters that `train --units` and `--cond-dim` stand for; an option left out is refused.
    """

    voice: ClassVar[str]
    sizes: ClassVar[Mapping[str, str]]
    objective: ClassVar[str | None] = None

    @abstractmethod
    def new_denoiser(self, bands: int, cond: int) -> "Denoiser":
        """A network with fresh weights (torch's global seed decides them).

        Args:
            bands: Values in a frame, k: gains, or bins of a spectrum.
            cond: Features in a frame of the condition, c, or rows of the piano roll.
        """
