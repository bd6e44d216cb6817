"""Parameters of what is diffused."""

from dataclasses import dataclass

from diffsynth.config import Count, Positive


@dataclass(frozen=True)
class Features:
    """Band analysis that defines the gains."""

    bands: Count
    highest: Positive
    window: Count
    floor: float
