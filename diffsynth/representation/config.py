"""Parameters of what is diffused."""

from dataclasses import dataclass

from diffsynth.config import Count, Natural, Positive
from diffsynth.errors import UserError


@dataclass(frozen=True)
class Features:
    """Bands of gains, and how levels in them are measured.

    Attributes:
        bands: of the gains.
        noise_bands: of the gains of noise; 0, if it shares those of the modes.
        knee: below it bands are about equally wide, above it they widen with frequency.
        hop: frames of audio from one gain to the next.
    """

    bands: Count
    noise_bands: Natural
    highest: Positive
    knee: Positive
    window: Count
    floor: float
    hop: Count

    def __post_init__(self) -> None:
        if self.noise_bands == 1 or self.noise_bands > self.bands:
            raise UserError(f"features: noise_bands must be 0 or from 2 to bands, not {self.noise_bands}")

    @property
    def values(self) -> int:
        """Gains at a time, k: of modes, then of noise."""
        return self.bands + self.noise_bands
