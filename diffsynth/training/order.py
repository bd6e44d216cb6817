"""The order in which examples are seen: a pure function of seed and position, made from the index alone.

An epoch takes shards at random, a few at a time, and shuffles all examples of these few: examples that
follow each other are of different recordings, and no more than a few shards are read from at a time. The
position of an example goes on over the end of an epoch. Nobody keeps a state, so any process can say what
stands at any position: a resumed run, each of several ranks, each worker of a loader.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from diffsynth.training.random_streams import generator

GROUP = 8  # shards that are shuffled together: some three hours of features


@dataclass(frozen=True)
class Example:
    """An example by numbers: the epoch that it is seen in, its shard, and which one of that shard it is."""

    epoch: int
    shard: int
    item: int


class Order:
    """An endless sequence of examples; each epoch has every one once.

    Args:
        counts: examples in every shard.
        seed: decides all epochs.
        group: shards that are shuffled together.
    """

    def __init__(self, counts: Sequence[int], seed: int, group: int = GROUP) -> None:
        self._counts, self._seed, self._group = tuple(counts), seed, group
        self._ends = np.cumsum(counts)

    def __len__(self) -> int:
        """Examples in an epoch."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def example(self, position: int) -> Example:
        """What stands at a position, from 0 on, over all epochs."""
        epoch, place = divmod(position, len(self))
        ends = _groups(self, epoch)[1]
        number = int(np.searchsorted(ends, place, side="right"))
        begin = int(ends[number - 1]) if number else 0
        shard, item = _shuffled(self, epoch, number)[place - begin].tolist()
        return Example(epoch, shard, item)

    def groups(self, epoch: int) -> list[tuple[int, ...]]:
        """The groups of shards of an epoch, in order."""
        order = generator("shards", self._seed, epoch).permutation(len(self._counts)).tolist()
        return [tuple(order[first : first + self._group]) for first in range(0, len(order), self._group)]

    def size(self, members: Sequence[int]) -> int:
        """Examples in a group of shards."""
        return sum(self._counts[shard] for shard in members)

    def shuffled(self, epoch: int, members: Sequence[int]) -> NDArray[np.int64]:
        """All examples of a group, [n, 2]: shard and item, in the order in which they are seen."""
        counts = self._counts
        pairs = [np.stack([np.full(counts[s], s), np.arange(counts[s])], axis=1) for s in members]
        return generator("examples", self._seed, epoch, *members).permutation(np.concatenate(pairs))

    def spread(self, count: int) -> list[Example]:
        """So many examples, or all if there are fewer, at even distances in the order of the index."""
        chosen = [(2 * i + 1) * len(self) // (2 * count) for i in range(count)]
        if count > len(self):
            chosen = list(range(len(self)))
        shards = np.searchsorted(self._ends, chosen, side="right").tolist()
        begins = self._ends - self._counts
        return [Example(0, s, place - int(begins[s])) for s, place in zip(shards, chosen, strict=True)]


# Kept by the order itself, which is compared by identity: to compare counts would take the longer the more
# shards there are.
@lru_cache(maxsize=4)
def _groups(order: Order, epoch: int) -> tuple[list[tuple[int, ...]], NDArray[np.int64]]:
    """The groups of an epoch, and the place at which each one ends."""
    groups = order.groups(epoch)
    return groups, np.cumsum([order.size(members) for members in groups])


@lru_cache(maxsize=4)
def _shuffled(order: Order, epoch: int, number: int) -> NDArray[np.int64]:
    """The examples of a group of an epoch, by its number."""
    return order.shuffled(epoch, _groups(order, epoch)[0][number])
