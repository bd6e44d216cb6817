"""Building a folder of shards: in parallel, the same bytes at every build, only what is not done yet."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from diffsynth.runs.files import atomic_path, sha256, write_json
from diffsynth.runs.parallel import parallel_map
from diffsynth.runs.resuming import recall, record, resumable_folder, tidy
from diffsynth.shards.folders import INDEX


class Plan(Protocol):
    """A shard to write: what is in it is known beforehand."""

    @property
    def name(self) -> str:
        """Of its file."""


SomePlan = TypeVar("SomePlan", bound=Plan)
Taken = TypeVar("Taken", bound=Plan, contravariant=True)


class Job(Protocol[Taken]):
    """Writes a shard to a folder and returns its part of the index; picklable."""

    def __call__(self, plan: Taken, folder: Path) -> dict[str, Any]:
        """See the class."""


def build_folder(
    out: Path,
    facts: dict[str, Any],
    plans: Mapping[str, Sequence[SomePlan]],
    job: Job[SomePlan],
    workers: int,
    label: str,
) -> dict[str, Any]:
    """Write all shards of a folder, and its index last; returns the index.

    Args:
        out: folder to write, which is replaced as a whole.
        facts: what the index says beside its splits.
        plans: the shards of every split.
        job: writes one of them.
        workers: number of processes, on which nothing depends.
        label: of the progress bar.
    """
    index: dict[str, Any] = {**facts, "splits": {}}
    everything = [plan for split in plans.values() for plan in split]
    with resumable_folder(out, INDEX) as folder:
        written = iter(list(parallel_map(partial(job, folder=folder), everything, workers, label)))
        for split, own in plans.items():
            shards = list(islice(written, len(own)))
            index["splits"][split] = {"samples": sum(s["samples"] for s in shards), "shards": shards}
        write_json(folder / INDEX, index)
        tidy(folder, {INDEX, *(plan.name for plan in everything)})
    return index


def build_shard(
    folder: Path, name: str, stamp: str, write: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    """Write one shard, unless an interrupted run has; returns its part of the index.

    Args:
        folder: to write to.
        name: of the file.
        stamp: of all that decides what is in it.
        write: writes it and returns what the index says of it beside name, size and checksum.
    """
    known = recall(folder, name, stamp)
    if known is not None:
        return dict(known)
    with atomic_path(folder / name) as path:
        contents = write(path)
        result = {"name": name, "sha256": sha256(path), "bytes": path.stat().st_size, **contents}
    record(folder, name, stamp, result, [name])
    return result
