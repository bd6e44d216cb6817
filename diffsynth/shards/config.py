"""Parameters of the shards."""

from dataclasses import dataclass
from typing import Annotated

from diffsynth.config import Count, NotNegative, Positive, Within


@dataclass(frozen=True)
class Shard:
    """Cutting performances into samples of fixed length, and samples into files."""

    segment: Annotated[float, Within(0, 600, above=True)]  # it is in memory as a whole
    context: NotNegative
    megabytes: Positive
    fewest: Count
