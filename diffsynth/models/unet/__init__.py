"""The published network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from diffsynth.config import Count
from diffsynth.models.parts.parameters import ModelConfig

if TYPE_CHECKING:
    from diffsynth.models.parts.denoiser import Denoiser


@dataclass(frozen=True)
class Unet(ModelConfig):
    """Size of the published network."""

    voice: ClassVar[str] = "frames"
    sizes: ClassVar[Mapping[str, str]] = {"units": "width"}
    objective: ClassVar[str | None] = "velocity"  # as published

    width: Count

    def new_denoiser(self, bands: int, cond: int) -> "Denoiser":
        """See `ModelConfig`."""
        from diffsynth.models.unet.network import UnetDenoiser

        return UnetDenoiser(self, bands, cond)
