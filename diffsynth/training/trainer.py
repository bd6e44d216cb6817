"""Training of a denoiser on sequences of blocks, with an averaged copy of the weights.

Every random number of step i comes from a generator seeded with (seed, i), so that a run that was
interrupted and resumed goes the same way as one that was not. It is drawn on the CPU, for the whole batch,
whatever device the network is on and however many processes share the rows.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from diffsynth.diffusion import Denoise, sample
from diffsynth.errors import UserError
from diffsynth.models.parts.denoiser import Denoiser
from diffsynth.models.parts.row_seeds import seeded_rows
from diffsynth.training.batches import Batch, Examples
from diffsynth.training.config import Diffusion, Train
from diffsynth.training.loading import loader
from diffsynth.training.machine import Machine
from diffsynth.training.objectives import Draws, objective_of
from diffsynth.training.optimiser import kept, learning_rate, make_optimiser
from diffsynth.training.random_streams import batch_seed, dropout_seed, weights_seed
from diffsynth.training.watching import is_stale, watch

VALIDATION = 32  # sequences
Part = tuple[Tensor, list[Tensor]]
"""The part of some rows in the loss, and its gradients."""


@dataclass
class Progress:
    """What a run has come to: everything but the tensors that a checkpoint needs.

    Attributes:
        step: steps done.
        best: lowest validation error so far, by the criterion of the objective.
        skipped: steps whose loss or gradients were not finite, which have changed nothing.
        in_a_row: of these, the last ones without a good step between them.
        history: one row per validation.
    """

    step: int = 0
    best: float = math.inf
    skipped: int = 0
    in_a_row: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """One training run; `steps` advances it, `tensors` and `restore` carry it over an interruption.

    Args:
        denoiser: network to train, in place.
        data: training examples.
        validation: validation examples.
        train: optimisation.
        diffusion: averaging and validation noise levels.
        listen: called at every validation with the averaged network on the CPU; its numbers join the row.
        machine: what to train on, by default the CPU.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        data: Examples,
        validation: Examples,
        train: Train,
        diffusion: Diffusion,
        listen: Callable[[Denoiser], dict[str, float]] = lambda _: {},
        machine: Machine | None = None,
    ) -> None:
        self.machine = machine = machine or Machine()
        _check(train, machine.ranks.count)
        self.denoiser, self.config, self.diffusion = denoiser.to(machine.device), train, diffusion
        self.listen, self._objective = listen, objective_of(diffusion.objective)
        if not self._objective.noisy:
            denoiser.ignore_noise()
        self._data, self._validation = data, validation
        self._beside = data.parameters(machine.device) if self._objective.by_sound else []
        self._parameters = [*denoiser.parameters(), *self._beside]
        # Threads of ours, each with a part of the rows, keep cores busy where those of PyTorch would wait for
        # each other after every small operation.
        self._map: Callable[..., Iterable[Part]] = map
        if machine.threads > 1:
            # What a thread of PyTorch's own would be is decided in each thread anew.
            self._map = ThreadPoolExecutor(machine.threads, "rows", torch.set_num_threads, (1,)).map
        # Of the network itself, in whose weights the optimiser and `load_state_dict` write.
        self._weights = denoiser.state_dict()
        self._averaged = {name: value.clone() for name, value in self._weights.items()}
        self.best = {name: value.clone() for name, value in self._averaged.items()}
        self._optimiser = make_optimiser(denoiser, train, self._beside)
        self.progress = Progress()

    def steps(self) -> Iterator[dict[str, float]]:
        """Train to the last step; yields the numbers of each step, and of validations among them.

        Raises:
            DivergedError: `max_skipped` steps in a row were not finite; the run is at its last good step.
        """
        if self._is_stale():
            return
        rows, gpu = self.machine.ranks.rows(self.config.batch_size), self.machine.device.type == "cuda"
        first, last = self.progress.step, self.config.steps
        for batch in loader(self._data, first, last, rows, self.machine.workers, gpu):
            loss, rate = self._step(self.progress.step, batch), learning_rate(self.progress.step, self.config)
            watch(self.progress, loss is not None, self.config.max_skipped)
            row = {"learning_rate": rate, "skipped": self.progress.skipped}
            if loss is not None:
                row["loss"] = loss
            self.progress.step += 1
            step = self.progress.step
            if step % self.config.validate_every == 0 or step == self.config.steps:
                row |= self._validate()
            yield row
            if "one_step_db" in row and self._is_stale():
                return

    def batch(self, step: int) -> Batch:
        """The rows of a step that this process takes."""
        return self._data.draw(step, self.machine.ranks.rows(self.config.batch_size))

    def result(self) -> Denoiser:
        """The network with the best weights, on the CPU; it cannot be trained on."""
        self.denoiser.load_state_dict(self.best)
        return self.denoiser.cpu()

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the run under flat names, copied to the CPU."""
        named = {"denoiser": self._weights, "averaged": self._averaged, "best": self.best}
        result = {f"{group}.{name}": value for group, state in named.items() for name, value in state.items()}
        result |= {f"beside.{index}": parameter for index, parameter in enumerate(self._beside)}
        for index, state in self._optimiser.state_dict()["state"].items():
            result |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        return {name: value.detach().to("cpu", copy=True) for name, value in result.items()}

    def restore(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Go on from `tensors` and the fields of a `Progress`."""
        groups: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = value
        self.denoiser.load_state_dict(groups["denoiser"])
        for name, value in self._averaged.items():
            value.copy_(groups["averaged"][name])
            self.best[name] = groups["best"][name].to(value)
        for number, parameter in enumerate(self._beside):
            parameter.data.copy_(groups["beside"][str(number)])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in groups.get("optimiser", {}).items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        whole = self._optimiser.state_dict()
        self._optimiser.load_state_dict({**whole, "state": state})
        self.progress = Progress(**progress)

    def _is_stale(self) -> bool:
        """Whether validations bring nothing any more; processes agree, whose last digits may differ."""
        patience = self.config.patience
        return patience > 0 and self.machine.ranks.any(is_stale(self.progress.history, patience))

    def _step(self, step: int, batch: Batch) -> float | None:
        """One optimiser step over the sequences of a batch, `mini_batch_size` at a time; returns its loss.

        Where the loss or a gradient is not finite, nothing changes, and there is no loss.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(step, self.config)
        self.denoiser.train()
        total = float(self.gradients(step, batch))
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.clip, foreach=True)
        if not (math.isfinite(total) and math.isfinite(norm)):
            return None
        self._optimiser.step()
        self._average(step)
        return total

    def gradients(self, step: int, batch: Batch) -> Tensor:
        """Gradients of a step; returns its loss.

        Sums over mini-batches, and over the rows of other threads and processes, are divided by the weight of
        the whole batch: how it is divided decides how much memory and time a step takes, and nothing else.
        """
        ranks, batch = self.machine.ranks, batch.to(self.machine.device)
        draws = self._draws(step, batch)
        total = self._objective.total(batch)
        ranks.add(total)
        own = range(self.config.batch_size)[ranks.rows(self.config.batch_size)]
        seeds = [dropout_seed(self.config.seed, step, row) for row in own]

        def part(rows: slice) -> tuple[Tensor, list[Tensor]]:
            with seeded_rows(seeds[rows]):
                error = self._error(batch.part(rows), draws.part(rows)) / total
            return error.detach().double(), list(torch.autograd.grad(error, self._parameters))

        parts = self._divided(len(batch.x), part)
        result, gradients = next(parts)
        for error, more in parts:
            result += error
            torch._foreach_add_(gradients, more)
        ranks.add(result, *gradients)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        return result

    def _divided(self, rows: int, part: Callable[[slice], Part]) -> Iterator[Part]:
        """Results for all rows, in order: a mini-batch after the other, each divided among the threads."""
        for first in range(0, rows, self.config.mini_batch_size):
            count = min(self.config.mini_batch_size, rows - first)
            threads = min(self.machine.threads, count)
            ends = [first + count * i // threads for i in range(threads + 1)]
            yield from self._map(part, [slice(*ends) for ends in pairwise(ends)])

    def _draws(self, step: int, batch: Batch) -> Draws:
        """All that is random of the rows that this process has."""
        generator = torch.Generator().manual_seed(batch_seed(self.config.seed, step))
        whole = self._objective.draw((self.config.batch_size, *batch.x.shape[1:]), generator)
        return whole.part(self.machine.ranks.rows(self.config.batch_size)).to(self.machine.device)

    def _error(self, batch: Batch, draws: Draws) -> Tensor:
        """Sum of the errors, where anything counts."""
        denoise = self._denoise(batch, batch.lead, self.machine.autocast)
        return self._objective.error(denoise, self._data, batch.counted(), draws.after(batch.lead))

    def _denoise(
        self, batch: Batch, lead: int = 0, precision: Callable[[], AbstractContextManager[Any]] = nullcontext
    ) -> Denoise:
        """The network as the diffusion sees it, for the sequences of a batch from block `lead` on."""
        state = batch.state or self.denoiser.initial_state(len(batch.cond))
        with precision():
            context = self.denoiser.encode(batch.cond, state)[0][:, lead:]

        def denoise(x_t: Tensor, sigma: Tensor) -> Tensor:
            with precision():
                return self.denoiser.denoise(x_t, sigma, context).float()

        return denoise

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Exponential moving average of the weights."""
        rate = 1 - kept(step, self.diffusion.ema)
        torch._foreach_lerp_(list(self._averaged.values()), list(self._weights.values()), rate)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Errors of the averaged network; keeps its weights if they are the best so far.

        The best is what renders best in one step, because that is how it will be used, unless the objective
        knows better.
        """
        trained = {name: value.clone() for name, value in self._weights.items()}
        self.denoiser.load_state_dict(self._averaged)
        self.denoiser.eval()
        row = self._errors() | self._listened()
        if row[self._objective.criterion] < self.progress.best:
            self.progress.best = row[self._objective.criterion]
            self.best = {name: value.clone() for name, value in self._averaged.items()}
        self.denoiser.load_state_dict(trained)
        self.progress.history.append({"step": self.progress.step, **row})
        return row

    def _listened(self) -> dict[str, float]:
        """What `listen` says of the network, which it gets on the CPU."""
        if self.machine.device.type == "cpu":
            return self.listen(self.denoiser)
        return self.listen(deepcopy(self.denoiser).cpu())

    def _errors(self) -> dict[str, float]:
        """What the objective says, and the error of one-step sampling in dB, on fixed sequences."""
        generator = torch.Generator().manual_seed(weights_seed(self.config.seed))
        fixed = self._validation.fixed(VALIDATION)
        batch = fixed.to(self.machine.device)
        draws = self._objective.draw(batch.x.shape, generator).to(self.machine.device)
        denoise, sigmas = self._denoise(batch), self.diffusion.validation_sigmas
        row = self._objective.validate(denoise, self._validation, batch, draws, sigmas)
        found = sample(denoise, draws.noise[:, 0], 1)
        row["one_step_db"] = self._validation.error_db(found.cpu(), fixed)
        return row


def _check(train: Train, ranks: int) -> None:
    for name in ("steps", "batch_size", "mini_batch_size", "validate_every"):
        if getattr(train, name) < 1:
            raise UserError(f"train.{name} must be at least 1")
    if train.batch_size < ranks:
        raise UserError(f"train.batch_size is {train.batch_size}, too small for {ranks} processes")
