"""What the ratings of a listening test say: means with intervals, and which systems can be told apart."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from diffsynth.listening.answers import Answers
from diffsynth.listening.clips import REFERENCE
from diffsynth.listening.design import MUSHRA

LEVEL = 0.95  # of the intervals
MOST_EXACT = 200  # pairs up to which all signs of the differences are counted
HIDDEN, SHARE = 90, 0.15  # BS.1534-3, 4.1.2: hidden references below 90 in more than 15 % of the trials


@dataclass(frozen=True)
class Rating:
    """One rating of a page that is done."""

    participant: str
    kind: str
    clip: str
    system: str
    value: int


@dataclass(frozen=True)
class Mean:
    """Mean rating of a system with its interval, which is not a number where there is only one rating."""

    system: str
    ratings: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Test:
    """Two systems compared on what both were rated for by the same participant on the same clip.

    Attributes:
        first: system whose mean is higher.
        second: the other one.
        pairs: number of pairs of ratings.
        difference: mean of `first` over the pairs, less that of `second`.
        p: of the Wilcoxon signed-rank test.
        p_holm: the same, corrected for the number of tests.
    """

    first: str
    second: str
    pairs: int
    difference: float
    p: float
    p_holm: float

    __test__ = False  # pytest: nothing to collect


def ratings(everyone: Iterable[Answers]) -> list[Rating]:
    """All ratings of pages that are done."""
    return list(_ratings(everyone))


def _ratings(everyone: Iterable[Answers]) -> Iterator[Rating]:
    for answers in everyone:
        for trial, given, done in zip(answers.trials, answers.ratings, answers.done, strict=True):
            for system in trial.systems if done else ():
                yield Rating(answers.participant, trial.kind, trial.clip, system, given[system])


def unreliable(rated: Sequence[Rating]) -> list[str]:
    """Participants whom BS.1534-3 leaves out: they often did not find the hidden reference."""
    hidden: dict[str, list[bool]] = {}
    for rating in rated:
        if rating.kind == MUSHRA and rating.system == REFERENCE:
            hidden.setdefault(rating.participant, []).append(rating.value < HIDDEN)
    return [name for name, missed in hidden.items() if np.mean(missed) > SHARE]


def means(rated: Sequence[Rating], systems: Sequence[str]) -> list[Mean]:
    """Mean over all ratings of every system, with an interval of Student's t at `LEVEL`.

    The interval takes every rating (participant and clip) for one observation, as published mean opinion
    scores do.
    """
    return [
        _mean(system, [rating.value for rating in rated if rating.system == system]) for system in systems
    ]


def _mean(system: str, values: Sequence[float]) -> Mean:
    if not values:
        return Mean(system, 0, np.nan, np.nan, np.nan)
    mean, half = float(np.mean(values)), np.nan
    if len(values) > 1:
        half = float(stats.sem(values) * stats.t.ppf((1 + LEVEL) / 2, len(values) - 1))
    return Mean(system, len(values), mean, mean - half, mean + half)


def compare_all(rated: Sequence[Rating], systems: Sequence[str]) -> list[Test]:
    """Every two systems, by the Wilcoxon signed-rank test with Holm's correction.

    Ratings are ranks on a scale rather than measures. The null distribution is exact, ties included.
    """
    values: dict[str, dict[tuple[str, str], int]] = {system: {} for system in systems}
    for rating in rated:
        if rating.system in values:
            values[rating.system][rating.participant, rating.clip] = rating.value
    tests = [_test(*pair, values) for pair in combinations(systems, 2)]
    tests = [test for test in tests if test.pairs]
    corrected = holm([test.p for test in tests])
    return [Test(**{**vars(test), "p_holm": p}) for test, p in zip(tests, corrected, strict=True)]


def _test(first: str, second: str, values: Mapping[str, Mapping[tuple[str, str], int]]) -> Test:
    shared = sorted(values[first].keys() & values[second].keys())
    differences = np.array([values[first][key] - values[second][key] for key in shared], float)
    if len(shared) and differences.mean() < 0:
        first, second, differences = second, first, -differences
    p = 1.0
    if differences.any():
        p = signed_rank(differences)
    return Test(first, second, len(shared), float(differences.mean()) if len(shared) else 0.0, p, p)


def signed_rank(differences: NDArray[np.float64]) -> float:
    """Two-sided p of the Wilcoxon signed-rank test; zeros are ranked and then left out (Pratt, 1959).

    Ratings tie often, and SciPy's exact distribution knows no ties: here that of the sum of ranks is counted
    over all signs. Beyond `MOST_EXACT` pairs SciPy's normal approximation serves.
    """
    if len(differences) > MOST_EXACT:
        return float(stats.wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)  # ranks of ties are halves
    ranks, positive = doubled[differences != 0], doubled[differences > 0]
    chance = np.zeros(ranks.sum() + 1)  # of every sum of the ranks of positive differences
    chance[0] = 1.0
    for rank in ranks:
        chance[rank:] = (chance[rank:] + chance[: len(chance) - rank]) / 2
        chance[:rank] /= 2
    sums = np.arange(len(chance))
    return float(chance[np.abs(2 * sums - ranks.sum()) >= abs(2 * positive.sum() - ranks.sum())].sum())


def holm(p: Sequence[float]) -> list[float]:
    """Values of p corrected for their number by Holm's step-down method (1979), in the same order."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = (
        np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1)) if len(p) else []
    )
    return [float(value) for value in np.minimum(corrected, 1.0)]
