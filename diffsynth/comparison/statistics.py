"""How sure the comparison is: paired bootstrap over segments of the test performances.

All systems are measured on the same segments, so a draw of segments is one draw for all of them, and what
makes a segment hard cancels in differences.

What is drawn. With at least `MANY` performances, performances are drawn, as wholes: intervals then speak of
other performances like these, and how segments within one hang together does not matter. With fewer,
segments are drawn within each performance: intervals then speak of these performances alone.

A draw takes one unit fewer than there are, so that the variance of means is right (Rao and Wu, Resampling
inference with complex survey data, 1988). An interval is a mean with so many of its standard errors on both
sides as Student's t asks for: with 17 segments percentiles of draws would be too near.

Differences of one measure are judged together, with Bonferroni's correction for all pairs of systems: that
any of their intervals misses has a probability of 5 % at most, so the best may be chosen by looking. Measures
are not corrected for each other: each is a question of its own. Studentised maxima of the draws were tried in
place of the correction, and miss two to three times as often with eight systems and 17 segments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

MANY = 10  # performances
LEVEL = 0.95
DRAWS = 4000
SEED = 0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """Draws of segments, the same for all systems and measures.

    Attributes:
        weights: of every segment in a mean, [draws, segments].
        mean: the same of the plain mean: over performances of the mean over their segments, [segments].
        freedom: degrees of freedom of a variance.
        what: was drawn, in words.
    """

    weights: Array
    mean: Array
    freedom: float
    what: str

    def errors(self, intervals: int = 1) -> float:
        """Standard errors on each side of a mean, where so many intervals are to hold at once."""
        return float(t.ppf(1 - (1 - LEVEL) / (2 * intervals), self.freedom))


@dataclass(frozen=True)
class Difference:
    """How much worse one system is than another, with its interval at `LEVEL`; below 0 it is better."""

    value: float
    low: float
    high: float

    @property
    def told(self) -> bool:
        """Whether the two can be told apart."""
        return self.low > 0.0 or self.high < 0.0


@dataclass(frozen=True)
class Judged:
    """What can be said of the systems in one measure.

    Attributes:
        half: half the width of the interval of each mean at `LEVEL`, [systems].
        worse: how much worse the first system of a pair is than the second, [systems, systems].
        margin: half the width of its interval, differences taken together, [systems, systems].
    """

    half: Array
    worse: Array
    margin: Array

    def difference(self, first: int, second: int) -> Difference:
        """Of one pair."""
        value, margin = float(self.worse[first, second]), float(self.margin[first, second])
        return Difference(value, value - margin, value + margin)


def draw(lengths: Sequence[int], draws: int = DRAWS, seed: int = SEED) -> Drawn | None:
    """Draws of segments; None where there are too few to say anything.

    Args:
        lengths: number of segments of each performance.
        draws: how many.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    count, owner = len(lengths), np.repeat(np.arange(len(lengths)), lengths)
    share = 1.0 / np.array(lengths, dtype=np.float64)
    mean = share[owner] / count
    if count >= MANY:
        weights = _counts(random, count, draws)[:, owner] * share[owner]
        return Drawn(weights, mean, count - 1, f"{count} performances")
    if min(lengths, default=0) < 2:
        return None
    weights = np.concatenate([_counts(random, length, draws) / count for length in lengths], axis=1)
    total, inverse = sum(lengths), 1 / np.array(lengths, dtype=np.float64)
    # Satterthwaite's, of equal noise: short performances know their own least, and count as much.
    freedom = inverse.sum() ** 2 / (inverse**2 / (np.array(lengths) - 1)).sum()
    names = "1 performance" if count == 1 else f"each of {count} performances"
    return Drawn(weights, mean, float(freedom), f"{total} segments, within {names}")


def judge(values: Array, drawn: Drawn, higher_is_better: bool | None, together: int | None = None) -> Judged:
    """Intervals of the means of systems and of all their differences.

    Args:
        values: of every segment and system, [segments, systems].
        drawn: draws of these segments.
        higher_is_better: which way is better; None if the best is 0, from both sides.
        together: number of differences whose intervals are to hold at once; by default that of all pairs.
    """
    means, samples = drawn.mean @ values, drawn.weights @ values
    half = drawn.errors() * _deviation(samples - means)
    # The less, the better; where 0 is best, a mean near it keeps its side.
    sign = np.sign(means) if higher_is_better is None else -1.0 if higher_is_better else 1.0
    loss, losses = sign * means, sign * samples
    worse = loss[:, None] - loss[None]
    error = _deviation(losses[:, :, None] - losses[:, None] - worse)
    if together is None:
        together = max(1, len(means) * (len(means) - 1) // 2)
    return Judged(half, worse, drawn.errors(together) * error)


def stacked(segments: Sequence[Mapping[str, Sequence[float]]]) -> Array:
    """Values of systems by performance, as [segments, systems]; all hold the same performances."""
    return np.array([[v for name in sorted(own) for v in own[name]] for own in segments]).T


def _counts(random: np.random.Generator, units: int, draws: int) -> Array:
    """Share of each unit in a draw with replacement of one unit fewer than there are, [draws, units]."""
    return random.multinomial(units - 1, np.full(units, 1.0 / units), size=draws) / (units - 1)


def _deviation(samples: Array) -> Array:
    return np.sqrt(np.square(samples).mean(axis=0))
