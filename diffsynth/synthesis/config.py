"""Parameters of rendering."""

from dataclasses import dataclass

from diffsynth.config import Count, Seed

BACKENDS = ("torch", "onnx")
"""What can compute the network."""
BUFFERS = 2
"""Blocks that wait for the sound card while a voice is played live, unless another number is asked for."""


RELEASED_VOICE = "grand"
"""Of the released voices, the one that is played unless another is asked for."""


@dataclass(frozen=True)
class Infer:
    """Sampling at render time."""

    steps: Count
    seed: Seed
