"""The loop of `diffsynth train`: steps with progress, metrics and checkpoints, also when interrupted."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from diffsynth.errors import UserError
from diffsynth.runs.tracking import Run
from diffsynth.training.trainer import Trainer


def train_all(
    trainer: Trainer,
    name: str,
    seconds: float,
    run: Run | None = None,
    save: Callable[[], None] = lambda: None,
    every: int = 1,
    stepped: Callable[[], None] = lambda: None,
) -> float:
    """Take all steps that are left; returns how many times faster than real time audio was learned from.

    Args:
        trainer: what to advance.
        name: shown at the progress bar.
        seconds: of audio that a step learns from.
        run: takes the numbers of every step; None in a process that does not report.
        save: writes a checkpoint.
        every: steps between checkpoints.
        stepped: called after every step.
    """
    begin, first, progress = time.perf_counter(), trainer.progress.step, trainer.progress
    bar = _Bar(trainer, name, seconds, shown=run is not None)
    stopped = False
    with bar, _signals() as received, _saved_at_last(save if run is not None else lambda: None):
        for row in trainer.steps():
            if run is not None:
                run.metrics(row, progress.step)
            bar.show(row)
            stepped()
            stopped = trainer.machine.ranks.any(bool(received))
            if run is not None and progress.step % every == 0:
                save()
            if stopped:
                break
    if stopped:  # also where another process was told to
        signal.raise_signal((received or [signal.SIGTERM])[0])
    return seconds * (progress.step - first) / (time.perf_counter() - begin)


@contextmanager
def _saved_at_last(save: Callable[[], None]) -> Iterator[None]:
    """Save when the body ends, also where it has diverged or a shard cannot be read: between two steps."""
    try:
        yield
    except UserError:
        save()
        raise
    save()


class _Bar(tqdm):
    """Steps, time left, how many times faster than real time it goes, and the last error in dB."""

    def __init__(self, trainer: Trainer, name: str, seconds: float, shown: bool) -> None:
        steps, done = trainer.config.steps, trainer.progress.step
        super().__init__(total=steps, initial=done, desc=name, unit="step", disable=None if shown else True)
        self._seconds, self._error = seconds, ""

    def show(self, row: dict[str, float]) -> None:
        """One step more, with its numbers."""
        if "one_step_db" in row:
            self._error = f"{row['one_step_db']:.2f} dB"
        rate = self.format_dict.get("rate")
        speed = f"{rate * self._seconds:.0f}x real time" if rate else ""
        self.set_postfix_str(", ".join(filter(None, [speed, self._error])), refresh=False)
        self.update()


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect signals to stop, which in the middle of a step would leave what no checkpoint may hold."""
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, lambda number, _: received.append(number))
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
