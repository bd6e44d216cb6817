"""Which precision is faster here: measured, because of two processors of one kind one gains and one loses."""

from dataclasses import replace
from time import perf_counter

from diffsynth.training.trainer import Trainer

EXACT, LOW = "float32", "bfloat16"
TURNS = 4  # of which the first warms up
GAIN = 1.05  # below which what is exact is kept


def faster_precision(trainer: Trainer) -> tuple[str, float]:
    """The precision in which a trainer takes its first step faster, and how many times as fast as the other.

    The trainer stays as it was. Processes that train together agree: it is low if no one is slowed down.
    """
    machine, ranks = trainer.machine, trainer.machine.ranks
    batch = trainer.batch(trainer.progress.step)
    times: dict[str, list[float]] = {EXACT: [], LOW: []}
    for _ in range(TURNS):
        for precision, found in times.items():
            trainer.machine = replace(machine, precision=precision)
            begin = perf_counter()
            float(trainer.gradients(trainer.progress.step, batch))  # a number: a GPU has to be done with it
            found.append(perf_counter() - begin)
    trainer.machine = machine
    for parameter in trainer.denoiser.parameters():
        parameter.grad = None
    exact, low = (min(found[1:]) for found in times.values())
    if ranks.any(exact < GAIN * low):
        return EXACT, low / exact
    return LOW, exact / low
