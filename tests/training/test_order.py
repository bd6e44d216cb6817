"""The order of examples: every one once an epoch, whoever asks, and few shards at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.feature_folders import Arrays
from support.small_training import FEATURES, HOPS, TARGETS, TRAIN, examples, feature_set

from diffsynth.errors import UserError
from diffsynth.representation.normaliser import Normaliser
from diffsynth.training.gain_batches import GainExamples
from diffsynth.training.loading import loader
from diffsynth.training.order import Order

COUNTS = st.lists(st.integers(0, 7), min_size=1, max_size=12).filter(any)


@given(COUNTS, st.integers(0, 2**63 - 1), st.integers(1, 5))
def test_an_epoch_has_every_example_once_and_reads_a_few_shards_at_a_time(counts, seed, group):
    order = Order(counts, seed, group)
    everything = {(shard, item) for shard, count in enumerate(counts) for item in range(count)}
    assert len(order) == len(everything)
    for epoch in range(3):
        seen = [order.example(epoch * len(order) + i) for i in range(len(order))]
        assert {(e.shard, e.item) for e in seen} == everything
        assert {e.epoch for e in seen} == {epoch}
        # A shard is read within one group: no other group comes between its first and last example.
        places = {s: [i for i, e in enumerate(seen) if e.shard == s] for s in {e.shard for e in seen}}
        open_at = [sum(min(p) <= i <= max(p) for p in places.values()) for i in range(len(seen))]
        assert max(open_at) <= group


def test_epochs_and_seeds_differ():
    order = [Order([5] * 9, seed).example for seed in (0, 1)]
    rows = [[(e.shard, e.item) for e in map(o, range(first, first + 45))] for o in order for first in (0, 45)]
    assert len(set(map(tuple, rows))) == 4


@given(COUNTS, st.integers(1, 40))
def test_a_few_examples_are_spread_over_the_split(counts, wanted):
    everything = [(shard, item) for shard, count in enumerate(counts) for item in range(count)]
    found = [everything.index((e.shard, e.item)) for e in Order(counts, 0).spread(wanted)]
    assert len(found) == min(wanted, len(everything))
    assert found == sorted(set(found))
    gaps = np.diff([-1, *found, len(everything)])
    assert gaps.max() <= len(everything) / len(found) + 1


def numbered(recorded, frames=48):
    """Features whose condition is the number of their hop, over all segments."""
    count = len(recorded)
    cond = np.arange(count * frames, dtype=np.float16).reshape(count, frames, 1)
    return Arrays(cond, np.ones((count, frames, 2, 2), np.float16), recorded)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 48), min_size=1, max_size=5).filter(lambda n: max(n) > 8),
    st.sampled_from([(16, 8), (32, 8), (40, 3), (48, 0), (12, 8)]),
    st.integers(0, 9),
)
def test_every_recorded_frame_carries_loss_once_an_epoch(recorded, sequence, seed):
    length, warmup = sequence
    recorded = [n if n > warmup else 0 for n in recorded]
    if not any(recorded):
        return
    unit = Normaliser(np.zeros(2, np.float32), np.ones(2, np.float32))
    train = replace(TRAIN, sequence=length, warmup=warmup, batch_size=3, seed=seed)
    data = GainExamples(numbered(recorded).opened(ONE), unit, TARGETS, HOPS, train)
    expected = sorted(48 * row + i for row, n in enumerate(recorded) for i in range(warmup, n))
    epochs = 3  # a whole number of batches
    seen = []
    for step in range(data.steps(epochs)):
        batch = data.draw(step)
        assert torch.equal(batch.weight[..., :1] > 0, batch.learned > 0)
        seen += batch.cond[batch.learned > 0].tolist()
    extra = len(seen) - epochs * len(expected)
    assert 0 <= extra <= 2 * length  # the last batch has begun the next epoch
    assert set(seen) == set(expected)
    if not extra:
        assert sorted(seen) == sorted(expected * epochs)


ONE = replace(FEATURES, bands=2)
NAMES = ("cond", "x", "weight", "levels", "learned")


def same(one, other):
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in NAMES)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 100))
def test_rows_of_all_ranks_are_the_batch(ranks, size, step):
    data = examples(feature_set(), replace(TRAIN, batch_size=size))
    whole = data.draw(step)
    parts = [
        data.draw(step, slice(size * r // ranks, size * (r + 1) // ranks))
        for r in range(ranks)
        if size * r // ranks < size * (r + 1) // ranks
    ]
    for name in NAMES:
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_workers_take_steps_in_turn_and_change_nothing():
    data = examples()
    expected = [data.draw(step, slice(1, 3)) for step in range(5, 12)]
    for workers in (0, 2):
        found = list(loader(data, 5, 12, slice(1, 3), workers))
        assert len(found) == len(expected)
        assert all(map(same, found, expected))


def test_a_shard_that_is_gone_is_one_line_from_a_worker_too():
    data = examples()
    data._data._shards.folder = data._data._shards.folder / "elsewhere"
    for workers in (0, 1):
        with pytest.raises(UserError, match=r"00000\d\.tar is missing \(\d samples, SHA-256 \w{64}\)") as e:
            list(loader(data, 0, 3, workers=workers))
        assert "\n" not in str(e.value)


def test_fixed_sequences_are_the_same_for_every_seed():
    one, other = (examples(train=replace(TRAIN, seed=seed)).fixed(4) for seed in (1, 2))
    assert same(one, other)
    assert len(one.x) == 4
