"""The S6 denoiser: selective state spaces."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffsynth.config import Count
from diffsynth.models.parts.parameters import RecurrentConfig

if TYPE_CHECKING:
    from diffsynth.models.parts.recurrence import Recurrence


@dataclass(frozen=True)
class S6(RecurrentConfig):
    """Size of the S6 denoiser.

    Attributes:
        state: n.
        expand: width inside a layer over that outside.
        conv: kernel of the causal convolution.
    """

    state: Count
    expand: Count
    conv: Count

    def new_recurrence(self, inputs: int, units: int, layers: int) -> "Recurrence":
        """See `RecurrentConfig`."""
        from diffsynth.models.s6.network import S6Layers

        return S6Layers(inputs, units, layers, self)

    def new_band_recurrence(self, units: int) -> "Recurrence":
        """See `RecurrentConfig`: as wide inside as outside."""
        from diffsynth.models.s6.network import S6Band

        return S6Band(units, self)
