"""Parameters of rendering."""

from dataclasses import dataclass

from diffsynth.config import Count, Seed

BACKENDS = ("torch", "onnx")
"""What can compute the network."""


@dataclass(frozen=True)
class Infer:
    """Sampling at render time."""

    steps: Count
    seed: Seed
