"""The same job over many items in several processes, in order, with a progress bar."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    job: Callable[[Item], Result], items: Sequence[Item], workers: int, label: str, progress: bool = True
) -> Iterator[Result]:
    """Yield `job(item)` in the order of items; the results do not depend on `workers`.

    `job` and the items must be picklable. If the caller stops early or is interrupted, what has not
    begun is not begun any more.
    """
    shown = partial(tqdm, desc=label, total=len(items), disable=None if progress else True)
    if workers <= 1 or len(items) < 2:
        yield from shown(map(job, items))
        return
    # Processes are started afresh, because a forked one inherits locks of threads it does not have.
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(items)), context, _end_with_parent) as pool:
        try:
            yield from shown(pool.map(job, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """End this worker when its parent is killed; otherwise it would wait for work for ever."""
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
