"""Batches ahead of time: processes that read and prepare them while the network learns."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from diffsynth.errors import UserError
from diffsynth.training.batches import Batch, Examples

AHEAD = 4  # batches that each worker has ready


class _Steps(Dataset[Batch | UserError]):
    """Batches by the number of their step; what is wrong with one, in its place."""

    def __init__(self, examples: Examples, rows: slice) -> None:
        self._examples, self._rows = examples, rows

    def __getitem__(self, step: int) -> Batch | UserError:
        try:
            return self._examples.draw(step, self._rows)
        except UserError as error:  # raised in a worker it would come with a page of traceback
            return error


def loader(
    examples: Examples,
    first: int,
    last: int,
    rows: slice = slice(None),
    workers: int = 0,
    pinned: bool = False,
) -> Iterator[Batch]:
    """The batches of steps [first, last), or some of their rows, in order.

    Args:
        examples: what to draw from; workers get a copy.
        first: step to begin at.
        last: step to end before.
        rows: of every batch, those of one rank.
        workers: processes that take steps in turn; 0 draws in this one, when a batch is asked for.
        pinned: whether batches lie where a GPU fetches them by itself.

    Raises:
        UserError: a shard is missing or damaged.
    """
    if not workers:
        yield from (examples.draw(step, rows) for step in range(first, last))
        return
    batches = DataLoader(
        _Steps(examples, rows),
        batch_size=None,
        sampler=range(first, last),
        num_workers=min(workers, max(last - first, 1)),
        collate_fn=_same,
        prefetch_factor=AHEAD,
        pin_memory=pinned,
        # Started afresh, because a forked process inherits locks of threads that it does not have.
        multiprocessing_context="spawn",
    )
    for batch in batches:
        if isinstance(batch, UserError):
            raise batch
        yield batch


def _same(batch: Any) -> Any:
    return batch
