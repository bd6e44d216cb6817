"""The same job over many items in several processes, in order, with a progress bar."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
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
    with ProcessPoolExecutor(min(workers, len(items)), mp_context=get_context("spawn")) as pool:
        try:
            yield from shown(pool.map(job, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
