"""When a training run stops before its last step: it does not improve any more, or it diverges."""

import math
from collections.abc import Sequence
from typing import Protocol

from diffsynth.errors import UserError

HEARD = "streamed_lsd"  # what early stopping goes by: what the engine plays, beside its recording


class DivergedError(UserError):
    """Steps in a row had a loss or gradients that are not finite; the run is back at its last good step."""


def is_stale(history: Sequence[dict[str, float]], patience: int) -> bool:
    """Whether none of the last `patience` validations was better than the best before; never if it is 0."""
    values = [row.get(HEARD, math.nan) for row in history]
    heard = [value if math.isfinite(value) else math.inf for value in values]
    return 0 < patience < len(heard) and min(heard[-patience:]) >= min(heard[:-patience])


class Watched(Protocol):
    """The part of a run's progress that changes here; see `diffsynth.training.trainer.Progress`."""

    step: int
    skipped: int
    in_a_row: int
    history: list[dict[str, float]]


def watch(progress: Watched, finite: bool, most: int) -> None:
    """Count a step that was taken, or skipped because something was not finite, before `progress.step` does.

    Raises:
        DivergedError: as many as `most` were skipped in a row; `progress` is what it was before the first.
    """
    if finite:
        progress.in_a_row = 0
        return
    progress.skipped += 1
    progress.in_a_row += 1
    if progress.in_a_row < most:
        return
    last = progress.step + 1
    progress.step -= most - 1
    progress.skipped -= most
    progress.in_a_row = 0
    progress.history[:] = [row for row in progress.history if row["step"] <= progress.step]
    raise DivergedError(
        f"training diverged: in steps {progress.step + 1} to {last} the loss or its gradients were not "
        "finite; go on from before them with --resume-anyway and a lower --learning-rate"
    )
