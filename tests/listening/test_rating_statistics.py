"""Means, intervals and tests of ratings, against computations of their own."""

import statistics
from itertools import product

import numpy as np
import pytest
from scipy.stats import rankdata, wilcoxon

from diffsynth.listening.answers import Answers
from diffsynth.listening.design import Design, plan
from diffsynth.listening.statistics import Rating, compare_all, holm, means, ratings, unreliable
from diffsynth.listening.statistics import signed_rank as exact

T975 = {3: 3.182446, 11: 2.200985}  # of tables of Student's t


def rated(system, values, kind="mos", who="p"):
    return [Rating(who, kind, f"clip{index}", system, value) for index, value in enumerate(values)]


def signed_rank(differences):
    """Two-sided p of the signed-rank test, over all signs; zeros are ranked and then dropped (Pratt)."""
    differences = np.asarray(differences, float)
    ranks = rankdata(np.abs(differences))[differences != 0]
    middle = ranks.sum() / 2
    seen = abs(ranks[differences[differences != 0] > 0].sum() - middle)
    sums = [abs(np.dot(ranks, signs) - middle) for signs in product((0, 1), repeat=len(ranks))]
    return np.mean([total >= seen - 1e-9 for total in sums])


def test_means_have_the_interval_of_students_t():
    values = [3, 4, 5, 3]
    one, none, single = means(rated("a", values) + rated("c", [2]), ["a", "b", "c"])
    half = T975[3] * statistics.stdev(values) / 2
    assert (one.system, one.ratings, one.mean) == ("a", 4, statistics.mean(values))
    assert (one.low, one.high) == pytest.approx((3.75 - half, 3.75 + half), rel=1e-5)
    assert none.ratings == 0
    assert np.isnan([none.mean, none.low, single.low, single.high]).all()
    assert single.mean == 2


def test_systems_are_compared_on_what_both_were_rated_for():
    a, b = [3, 4, 5, 3, 5, 4, 2, 5, 4], [2, 4, 3, 4, 2, 3, 1, 2]  # the last clip has no rating of b
    (test,) = compare_all(rated("b", b) + rated("a", a), ["b", "a"])
    differences = np.subtract(a[:8], b)
    assert (test.first, test.second, test.pairs) == ("a", "b", 8)
    assert test.difference == pytest.approx(differences.mean())
    assert test.p == pytest.approx(signed_rank(differences), abs=1e-9)
    assert test.p_holm == test.p


def test_equal_ratings_and_ratings_without_a_pair_tell_nothing():
    same = rated("a", [3, 4]) + rated("b", [3, 4]) + rated("c", [1, 1], who="q")
    (test,) = compare_all(same, ["a", "b", "c"])
    assert (test.p, test.p_holm, test.difference) == (1.0, 1.0, 0.0)


def test_the_exact_and_the_approximate_distribution_meet():
    rng = np.random.default_rng(1)
    differences = rng.integers(-8, 10, 200).astype(float)
    approximate = wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue
    assert exact(differences) == pytest.approx(approximate, rel=0.03)
    assert exact(np.r_[differences, 0.0]) == pytest.approx(approximate, rel=0.03)  # beyond the limit
    distinct = np.array([1.0, -2.5, 3, 4.5, -5, 6, 7, 8.5, 9])
    assert exact(distinct) == pytest.approx(wilcoxon(distinct, method="exact").pvalue, abs=1e-12)


def test_holm_is_what_one_computes_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_equal_systems_are_told_apart_as_rarely_as_stated_and_others_nearly_always():
    rng = np.random.default_rng(3)
    alarms = misses = 0
    for _ in range(150):
        clips = rng.normal(3.2, 0.5, 12)
        a, b, worse = (
            np.clip(np.rint(clips + shift + rng.normal(0, 0.6, 12)), 1, 5).astype(int)
            for shift in (0, 0, -1.3)
        )
        tests = compare_all(rated("a", a) + rated("b", b) + rated("worse", worse), ["a", "b", "worse"])
        told = {frozenset((test.first, test.second)): test.p_holm < 0.05 for test in tests}
        alarms += told[frozenset("ab")]
        misses += not told[frozenset(("a", "worse"))]
    assert alarms <= 0.05 * 150 + 3 * np.sqrt(150 * 0.05 * 0.95)
    assert misses < 0.1 * 150


def test_who_misses_the_hidden_reference_too_often_is_named():
    def references(who, values):
        return rated("recording", values, "mushra", who)

    answers = [*references("good", [100] * 6 + [80]), *references("poor", [100] * 5 + [89, 50])]
    assert unreliable([*answers, *rated("recording", [1, 1, 1], who="mos only")]) == ["poor"]


def test_only_pages_that_are_done_count():
    design = Design(("mos",), ("recording", "a"), ("x", "y"), 5.0, 0)
    answers = Answers("p", plan(design, "p"), [{} for _ in range(4)], [False] * 4)
    for index in range(3):
        answers.rate(index, answers.trials[index].systems[0], index + 2)
        if index < 2:
            answers.finish(index)
    expected = [(trial.clip, *trial.systems, index + 2) for index, trial in enumerate(answers.trials[:2])]
    assert [(each.clip, each.system, each.value) for each in ratings([answers])] == expected


def test_orders_are_drawn_by_seed_and_participant():
    def order(seed, participant):
        return plan(Design(("mos", "mushra"), ("recording", *"abc"), tuple("vwxyz"), 5.0, seed), participant)

    first = order(0, "anna")
    assert first == order(0, "anna")
    assert first[:20] != order(0, "bob")[:20]
    assert first[:20] != order(1, "anna")[:20]
    assert first[20:] != order(0, "bob")[20:]
    assert sorted(map(repr, first)) != list(map(repr, first))
    assert [trial.kind for trial in first] == ["mos"] * 20 + ["mushra"] * 5
    assert {(trial.clip, *trial.systems) for trial in first[:20]} == set(
        product("vwxyz", ("recording", *"abc"))
    )
    assert all(sorted(trial.systems) == ["a", "anchor35", "b", "c", "recording"] for trial in first[20:])
    # Over many participants every system comes first as often as the others.
    firsts = [order(0, f"p{n}")[20].systems[0] for n in range(300)]
    counts = [firsts.count(system) for system in ("recording", *"abc", "anchor35")]
    assert max(abs(count - 60) for count in counts) < 4 * np.sqrt(300 * 0.2 * 0.8)
