"""How audio is cut: rate, frames and blocks."""

from dataclasses import dataclass

from diffsynth.config import Count

BLOCKS = (512, 1024, 2048, 4096)
"""Samples that a voice may make at once."""


@dataclass(frozen=True)
class AudioFormat:
    """Sample rate (Hz) and frame (samples between two gain values) of the whole pipeline."""

    sample_rate: Count
    frame: Count
