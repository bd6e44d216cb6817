"""Parameters of the fit."""

from dataclasses import dataclass
from typing import Annotated

from diffsynth.config import Count, Natural, Positive, Within


@dataclass(frozen=True)
class Fit:
    """Extent of the modal excitation."""

    minutes: Positive
    partials: Count
    max_frequency: Positive
    passes: Natural
    jitter: Annotated[float, Within(0, 0.1)]
