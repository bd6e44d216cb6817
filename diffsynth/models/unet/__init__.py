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

    def new_denoiser(self, values: int, cond: int, ages: int = 1, noise: int = 0) -> "Denoiser":  # noqa: ARG002
        """See `ModelConfig`; bins are all alike."""
        from diffsynth.models.unet.network import UnetDenoiser

        return UnetDenoiser(self, values, cond)
