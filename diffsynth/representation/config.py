"""Parameters of what is diffused."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from diffsynth.config import Count, Natural, NotEmpty, Positive
from diffsynth.errors import UserError


@dataclass(frozen=True)
class Features:
    """Bands of gains, and how levels in them are measured.

    Attributes:
        bands: of the gains.
        noise_bands: of the gains of noise; 0, if it shares those of the modes.
        knee: below it bands are about equally wide, above it they widen with frequency.
        hop: frames of audio from one gain to the next.
        ages: s since the last strike of a key, rising; at each the modes of the key have gains of their own.
    """

    bands: Count
    noise_bands: Natural
    highest: Positive
    knee: Positive
    window: Count
    floor: float
    hop: Count
    ages: Annotated[list[Positive], NotEmpty()]

    def __post_init__(self) -> None:
        if any(late <= early for early, late in pairwise(self.ages)):
            raise UserError(f"features: ages must rise, not be {self.ages}")
        if len(self.ages) > 1 and not self.noise_bands:
            raise UserError("features: gains of several ages need noise_bands, or noise would have no gains")
        if self.noise_bands == 1 or self.noise_bands > self.bands:
            raise UserError(f"features: noise_bands must be 0 or from 2 to bands, not {self.noise_bands}")

    @property
    def values(self) -> int:
        """Gains at a time, k: of modes by age, then of noise."""
        return self.mode_values + self.noise_bands

    @property
    def mode_values(self) -> int:
        """Gains of modes at a time, by age."""
        return len(self.ages) * self.bands
