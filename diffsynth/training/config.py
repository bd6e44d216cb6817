"""Parameters of the training."""

from dataclasses import dataclass
from typing import Annotated

from diffsynth.config import Count, Natural, NotEmpty, NotNegative, Positive, Seed, Share


@dataclass(frozen=True)
class Diffusion:
    """What is learned, by an objective of `objectives.OBJECTIVES`, how it is averaged and validated."""

    objective: str
    ema: Share
    validation_sigmas: Annotated[list[Share], NotEmpty()]


@dataclass(frozen=True)
class Train:
    """Optimisation."""

    steps: Count
    batch_size: Count
    mini_batch_size: Count
    sequence: Count
    warmup: Natural
    learning_rate: NotNegative
    weight_decay: NotNegative
    clip: Positive
    validate_every: Count
    stream_seconds: Positive
    patience: Natural
    max_skipped: Count
    seed: Seed
