"""Splits and file names."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.datasets.splits import assign_splits, safe_names
from diffsynth.errors import UserError

titles = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=40)


@given(titles, st.integers(0, 9))
def test_three_performances_fill_every_split(names, seed):
    splits = assign_splits(names, 0.1, 0.1, seed)
    assert len(splits) == len(names)
    assert set(splits) == set(("train", "validation", "test")[: len(names)])


def test_shares_are_kept_and_adding_performances_moves_none():
    names = [f"piece {i}" for i in range(3000)]
    before = assign_splits(names[:1000], 0.1, 0.2, 7)
    after = assign_splits(names, 0.1, 0.2, 7)
    assert after[:1000] == before
    count = Counter(after)
    assert abs(count["validation"] - 300) < 60
    assert abs(count["test"] - 600) < 80
    assert assign_splits(names, 0.1, 0.2, 8) != after


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.1), (0.1, 1.0)])
def test_shares_that_leave_no_training(shares):
    with pytest.raises(UserError, match="shares"):
        assign_splits(["a", "b", "c"], *shares, 0)


@given(st.lists(st.text(min_size=1, max_size=200), unique=True, max_size=20))
def test_names_are_distinct_short_and_without_dots_or_slashes(names):
    safe = safe_names(names)
    for name in safe:
        assert name
        assert len(name.encode()) <= 130
        assert not set(name) & set("./\\ \0:*?")


def test_names_that_would_collide_are_told_apart():
    first, second, third = safe_names(["a b", "a_b", "c.d/e"])
    assert first != second
    assert first.startswith("a_b_")
    assert second.startswith("a_b_")
    assert third == "c_d_e"
