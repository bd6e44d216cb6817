"""The LSTM denoiser."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from diffsynth.config import Count
from diffsynth.models.parts.parameters import ModelConfig

if TYPE_CHECKING:
    from diffsynth.models.parts.denoiser import Denoiser


@dataclass(frozen=True)
class Lstm(ModelConfig):
    """Size of the LSTM denoiser."""

    voice: ClassVar[str] = "gains"
    sizes: ClassVar[Mapping[str, str]] = {"units": "units", "cond_dim": "cond_units"}

    units: Count
    layers: Count
    cond_units: Count

    def new_denoiser(self, bands: int, cond: int) -> "Denoiser":
        """See `ModelConfig`."""
        from diffsynth.models.lstm.network import LstmDenoiser

        return LstmDenoiser(self, bands, cond)
