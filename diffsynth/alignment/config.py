"""Parameters of the alignment."""

from dataclasses import dataclass

from diffsynth.config import NotNegative, Share


@dataclass(frozen=True)
class Align:
    """Search range of the alignment and limits beyond which a performance is rejected."""

    max_offset: NotNegative
    max_drift: NotNegative
    max_residual: NotNegative
    min_matched: Share
