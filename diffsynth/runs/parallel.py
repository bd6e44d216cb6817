"""The same job over many items, in order, with a progress bar: in processes here, or on a cluster.

joblib does the work. By default its processes are of this machine (loky: started afresh, because a forked one
inherits locks of threads it does not have, and used again by the next call). Whatever
`joblib.parallel_config` names around a call takes their place: Dask, Ray (`diffsynth.runs.cluster`).
"""

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Thread
from typing import Any, TypeVar

from tqdm import tqdm

from diffsynth.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

TRACKER = "joblib.externals.loky.backend.resource_tracker"
WATCH = 0.5  # s between two looks at whether the parent still lives


def parallel_map(
    job: Callable[[Item], Result], items: Sequence[Item], workers: int, label: str, progress: bool = True
) -> Iterator[Result]:
    """Yield `job(item)` in the order of items; the results do not depend on where jobs run.

    `job` and the items must be picklable. If the caller stops early or is interrupted, what has not
    begun is not begun any more, and processes of this machine end at once.

    Args:
        job: what to do.
        items: with what.
        workers: processes of this machine; 1 does the work in this one. A cluster has its own number.
        label: of the progress bar.
        progress: whether to show one.

    Raises:
        UserError: a process was killed, by the system where memory ran out.
    """
    shown = partial(tqdm, desc=label, total=len(items), disable=None if progress else True)
    parallel = _parallel(min(workers, len(items)))
    if parallel is None:
        yield from shown(map(job, items))
        return
    from joblib import delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    results = parallel(delayed(job)(item) for item in items)
    try:
        with shown() as bar:
            for result in results:
                yield result
                bar.update()
    except BrokenProcessPool as error:
        raise UserError(
            f"{label}: a process was killed, as the system does where memory runs out; try fewer --workers"
        ) from error
    finally:
        with warnings.catch_warnings():  # that the rest is not wanted
            warnings.simplefilter("ignore")
            results.close()


def _parallel(workers: int) -> Any:
    """What runs jobs elsewhere than in this process; None if nothing does."""
    from joblib import Parallel
    from joblib.parallel import LokyBackend, get_active_backend

    backend, _ = get_active_backend()
    _silence_tracker()
    # An item is work for seconds: batches of several would only delay the first results.
    options = {"return_as": "generator", "batch_size": 1}
    if not isinstance(backend, LokyBackend):
        return Parallel(n_jobs=-1, **options)
    if workers <= 1:
        return None
    # Arrays are passed as they are; by default large ones would become files that cannot be written to.
    return Parallel(workers, backend="loky", initializer=begin_worker, max_nbytes=None, **options)


def _silence_tracker() -> None:
    """The process that clears up after loky warns of what an interrupted run has left; it clears it up."""
    given = os.environ.get("PYTHONWARNINGS", "")
    if TRACKER not in given:
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [given, f"ignore::UserWarning:{TRACKER}"]))


def begin_worker() -> None:
    """Let the parent alone decide what Ctrl-C means, and end with it when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_wait_for_parent, args=[os.getppid()], daemon=True).start()


def _wait_for_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os._exit(1)
