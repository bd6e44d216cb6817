"""How audio is cut: rate, channels, frames and blocks."""

from dataclasses import dataclass
from typing import Annotated

from diffsynth.config import Count, Within

BLOCKS = (512, 1024, 2048, 4096)
"""Samples that a voice may make at once."""


@dataclass(frozen=True)
class AudioFormat:
    """Sample rate (Hz), frame (samples between two gain values) and channels of the whole pipeline."""

    sample_rate: Count
    frame: Count
    channels: Annotated[int, Within(1, 2)] = 1
