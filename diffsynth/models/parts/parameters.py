"""What every model's section of `params.yaml` is: sizes, and the network that they describe.

These classes do without PyTorch, whose import takes seconds: checking parameters and `--help` need none.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffsynth.config import Count, Natural, Within

if TYPE_CHECKING:
    from diffsynth.models.parts.denoiser import Denoiser
    from diffsynth.models.parts.recurrence import Recurrence


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
    def new_denoiser(self, values: int, cond: int, ages: int = 1, noise: int = 0) -> "Denoiser":
        """A network with fresh weights (torch's global seed decides them).

        Args:
            values: In a frame, k: gains, or bins of a spectrum.
            cond: Features in a frame of the condition, c, or rows of the piano roll.
            ages: Gains of each band of modes; values are those of the bands of modes by age, then those of
                the bands of noise. A condition begins with a level for each band, of modes and of noise.
            noise: Bands of noise.
        """


@dataclass(frozen=True)
class RecurrentConfig(ModelConfig):
    """Size of a network with a recurrence over everything and one that all bands share.

    Attributes:
        units: of the recurrence over everything.
        layers: of it.
        cond_units: of the embedded condition.
        band_units: in each band.
        band_layers: recurrences in each band, one after another; 0: none.
        dropout: share of the channels of what is known of everything that are dropped in training.
    """

    voice: ClassVar[str] = "gains"
    sizes: ClassVar[Mapping[str, str]] = {"units": "units", "cond_dim": "cond_units"}

    units: Count
    layers: Count
    cond_units: Count
    band_units: Count
    band_layers: Natural
    dropout: Annotated[float, Within(0, 0.9)]

    def new_denoiser(self, values: int, cond: int, ages: int = 1, noise: int = 0) -> "Denoiser":
        """See `ModelConfig`."""
        from diffsynth.models.parts.recurrent import RecurrentDenoiser

        return RecurrentDenoiser(self, values, cond, ages, noise)

    @abstractmethod
    def new_recurrence(self, inputs: int, units: int, layers: int) -> "Recurrence":
        """Layers with fresh weights, from so many inputs to so many units."""

    def new_band_recurrence(self, units: int) -> "Recurrence":
        """One layer with fresh weights for every band, whose output is added to its input elsewhere."""
        return self.new_recurrence(units, units, 1)
