"""The level at which systems are told apart, by simulation, and the bootstrap against formulas."""

import numpy as np
import pytest
from scipy.stats import t

from diffsynth.comparison.statistics import draw, judge, stacked

SETS = 300
ERROR = np.sqrt(0.05 * 0.95 / SETS)  # of a share of 5 % among so many
LENGTHS = (5, 8, 4)  # segments of performances, less even than those of the demo


def data(random, lengths, systems, effect, between=0.0):
    """Segments of unlike difficulty, which all systems share; the last system is worse by `effect`.

    Noise of a system within a performance has standard deviation 1, and its mean there `between`.
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)
    hard = (
        3.0 * random.standard_normal(len(owner))[:, None]
        + 5.0 * random.standard_normal(len(lengths))[owner][:, None]
    )
    own = between * random.standard_normal((len(lengths), systems))[owner]
    values = hard + own + random.standard_normal((len(owner), systems))
    values[:, -1] += effect
    return values


@pytest.mark.parametrize("systems", [2, 8])
def test_equal_systems_are_told_to_be_equal_at_the_stated_level(systems):
    """In all pairs at once: that any of them is called different happens in 5 % of the sets."""
    drawn = draw(LENGTHS, draws=1000)
    random = np.random.default_rng(systems)
    wrong = 0
    for _ in range(SETS):
        judged = judge(data(random, LENGTHS, systems, 0.0), drawn, False)
        wrong += bool((np.abs(judged.worse) > judged.margin).any())
    assert 0.01 <= wrong / SETS <= 0.05 + 2.5 * ERROR


def test_intervals_of_a_difference_hold_it_at_the_stated_level_and_find_it():
    effect = 2.0
    drawn = draw(LENGTHS, draws=1000)
    random = np.random.default_rng(3)
    pairs = [judge(data(random, LENGTHS, 2, effect), drawn, False).difference(1, 0) for _ in range(SETS)]
    covered = np.mean([pair.low <= effect <= pair.high for pair in pairs])
    assert abs(covered - 0.95) <= 2.5 * ERROR
    # Noise of sqrt(2) a segment: the error of the mean is .36, and the effect more than five times that.
    assert np.mean([pair.told for pair in pairs]) > 0.95
    assert all(pair.value > 0 for pair in pairs if pair.told)


def test_many_performances_are_drawn_as_wholes():
    """Then what a system is good at in a whole performance counts, which segments alone would not show."""
    lengths = [6] * 12
    random = np.random.default_rng(12)
    drawn = draw(lengths, draws=1000)
    assert (drawn.what, drawn.freedom) == ("12 performances", 11)
    wrong = [
        judge(data(random, lengths, 2, 0.0, between=1.0), drawn, True).difference(0, 1).told
        for _ in range(SETS)
    ]
    assert np.mean(wrong) <= 0.05 + 2.5 * ERROR


def test_an_interval_is_that_of_students_t_where_noise_is_normal():
    values = np.random.default_rng(0).standard_normal((40, 2))
    judged = judge(values, draw([40], draws=20000), False)
    for system in range(2):
        expected = t.ppf(0.975, 39) * values[:, system].std(ddof=1) / np.sqrt(40)
        assert judged.half[system] == pytest.approx(expected, rel=0.05)
    paired = values[:, 1] - values[:, 0]
    assert judged.worse[1, 0] == pytest.approx(paired.mean())
    expected = t.ppf(0.975, 39) * paired.std(ddof=1) / np.sqrt(40)
    assert judged.margin[1, 0] == pytest.approx(expected, rel=0.05)


def test_performances_count_alike_and_directions_are_told():
    values = np.array([[0.0, 2.0]] * 2 + [[1.0, 5.0]] * 6)
    drawn = draw([2, 6], draws=200)
    lower = judge(values, drawn, False)
    assert lower.worse[1, 0] == pytest.approx((2 + 5) / 2 - (0 + 1) / 2)
    assert judge(values, drawn, True).worse[1, 0] == pytest.approx(-3.0)
    signed = np.array([[-4.0, 3.0]] * 4)
    assert judge(signed, draw([4], draws=200), None).worse[0, 1] == pytest.approx(1.0)


def test_identical_systems_differ_by_nothing():
    values = np.repeat(np.random.default_rng(1).standard_normal((10, 1)), 3, axis=1)
    judged = judge(values, draw([10]), False)
    assert not judged.worse.any()
    assert not judged.margin.any()
    assert not judged.difference(0, 1).told


def test_too_few_segments_say_nothing():
    assert draw([1, 5]) is None
    assert draw([]) is None
    assert draw([2, 2]).freedom == 2  # each has one, and both count alike


def test_segments_stand_in_the_order_of_the_names_of_performances():
    found = stacked([{"b": [3, 4], "a": [1, 2]}, {"a": [5, 6], "b": [7, 8]}])
    np.testing.assert_array_equal(found, [[1, 5], [2, 6], [3, 7], [4, 8]])
