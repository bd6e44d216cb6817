"""The S6 denoiser: selective state spaces."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from diffsynth.config import Count
from diffsynth.models.parts.parameters import ModelConfig

if TYPE_CHECKING:
    from diffsynth.models.parts.denoiser import Denoiser


@dataclass(frozen=True)
class S6(ModelConfig):
    """Size of the S6 denoiser."""

    voice: ClassVar[str] = "gains"
    sizes: ClassVar[Mapping[str, str]] = {"units": "units", "cond_dim": "cond_units"}

    units: Count
    layers: Count
    state: Count
    expand: Count
    conv: Count
    cond_units: Count

    def new_denoiser(self, bands: int, cond: int) -> "Denoiser":
        """See `ModelConfig`."""
        from diffsynth.models.s6.network import S6Denoiser

        return S6Denoiser(self, bands, cond)
