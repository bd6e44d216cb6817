"""Parameters of the evaluation."""

from dataclasses import dataclass
from typing import Annotated

from diffsynth.config import NotEmpty, Positive, Within


@dataclass(frozen=True)
class Evaluate:
    """Settings of the published evaluation."""

    fft_sizes: Annotated[list[Annotated[int, Within(4)]], NotEmpty()]
    onset_tolerance: Positive
    pitch_tolerance: Positive
