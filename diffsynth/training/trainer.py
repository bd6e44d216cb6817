"""Training of a denoiser on sequences of blocks, with an averaged copy of the weights.

Every random number of step i comes from a generator seeded with (seed, i), so that a run that was
interrupted and resumed goes the same way as one that was not.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from diffsynth.diffusion import Denoise, sample
from diffsynth.errors import UserError
from diffsynth.models.parts.denoiser import Denoiser
from diffsynth.training.batches import Batch, Examples
from diffsynth.training.config import Diffusion, Train
from diffsynth.training.objectives import objective_of
from diffsynth.training.random_streams import batch_seed, dropout_seed, weights_seed

WARM_UP = 0.05  # share of all steps in which the learning rate rises
VALIDATION = 32  # sequences


@dataclass
class Progress:
    """What a run has come to: everything but the tensors that a checkpoint needs.

    Attributes:
        step: steps done.
        best: lowest validation error so far, by the criterion of the objective.
        history: one row per validation.
    """

    step: int = 0
    best: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """One training run; `steps` advances it, `tensors` and `restore` carry it over an interruption.

    Args:
        denoiser: network to train, in place.
        data: training examples.
        validation: validation examples.
        train: optimisation.
        diffusion: averaging and validation noise levels.
        listen: called at every validation with the averaged network; its numbers join the row.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        data: Examples,
        validation: Examples,
        train: Train,
        diffusion: Diffusion,
        listen: Callable[[Denoiser], dict[str, float]] = lambda _: {},
    ) -> None:
        _check(train)
        self.denoiser, self.config, self.diffusion = denoiser, train, diffusion
        self.listen, self._objective = listen, objective_of(diffusion.objective)
        self._data, self._validation = data, validation
        self._averaged = {name: value.clone() for name, value in denoiser.state_dict().items()}
        self.best = {name: value.clone() for name, value in self._averaged.items()}
        self._optimiser = torch.optim.AdamW(
            _parameter_groups(denoiser, train.weight_decay), lr=train.learning_rate, foreach=True
        )
        self.progress = Progress()

    def steps(self) -> Iterator[dict[str, float]]:
        """Train to the last step; yields the numbers of each step, and of validations among them."""
        while self.progress.step < self.config.steps:
            row = {"loss": self._step(self.progress.step), "learning_rate": self._rate(self.progress.step)}
            self.progress.step += 1
            step = self.progress.step
            if step % self.config.validate_every == 0 or step == self.config.steps:
                row |= self._validate()
            yield row

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the run under flat names."""
        named = {"denoiser": self.denoiser.state_dict(), "averaged": self._averaged, "best": self.best}
        result = {f"{group}.{name}": value for group, state in named.items() for name, value in state.items()}
        for index, state in self._optimiser.state_dict()["state"].items():
            result |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        return {name: value.detach().clone() for name, value in result.items()}

    def restore(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Go on from `tensors` and the fields of a `Progress`."""
        groups: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = value
        self.denoiser.load_state_dict(groups["denoiser"])
        self._averaged, self.best = groups["averaged"], groups["best"]
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in groups.get("optimiser", {}).items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        whole = self._optimiser.state_dict()
        self._optimiser.load_state_dict({**whole, "state": state})
        self.progress = Progress(**progress)

    def _rate(self, step: int) -> float:
        """Learning rate: a short rise, then a cosine to zero over all steps."""
        rise = max(1, round(WARM_UP * self.config.steps))
        fall = 0.5 * (1 + math.cos(math.pi * step / self.config.steps))
        return self.config.learning_rate * min(1.0, (step + 1) / rise) * fall

    def _step(self, step: int) -> float:
        """One optimiser step over `batch_size` sequences, `mini_batch_size` at a time."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(step)
        self.denoiser.train()
        self._optimiser.zero_grad(set_to_none=True)
        total = self._gradients(step)
        if not math.isfinite(total):
            raise UserError(f"training diverged in step {step + 1}; lower train.learning_rate")
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), self.config.clip)
        self._optimiser.step()
        self._average(step)
        return total

    def _gradients(self, step: int) -> float:
        """Gradients of a step and its loss.

        All of the batch is drawn first, and sums over mini-batches are divided by the weight of all of it:
        the size of a mini-batch decides how much memory a step takes, and nothing else.
        """
        generator = torch.Generator().manual_seed(batch_seed(self.config.seed, step))
        batch = self._data.draw(step)
        draws = self._objective.draw(batch, generator)
        total = self._objective.total(batch)
        result = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(dropout_seed(self.config.seed, step))
            for first in range(0, self.config.batch_size, self.config.mini_batch_size):
                rows = slice(first, first + self.config.mini_batch_size)
                part = batch.part(rows)
                error = self._objective.error(self._denoise(part), self._data, part, draws.part(rows))
                (error / total).backward()
                result += float(error.detach() / total)
        return result

    def _denoise(self, batch: Batch) -> Denoise:
        """The network as the diffusion sees it, for the sequences of a batch."""
        state = batch.state or self.denoiser.initial_state(len(batch.cond))
        context, _ = self.denoiser.encode(batch.cond, state)
        return lambda x_t, sigma: self.denoiser.denoise(x_t, sigma, context)

    def _average(self, step: int) -> None:
        """Exponential moving average of the weights, faster at the beginning."""
        decay = min(self.diffusion.ema, (1 + step) / (10 + step))
        for name, value in self.denoiser.state_dict().items():
            self._averaged[name].lerp_(value, 1 - decay)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Errors of the averaged network; keeps its weights if they are the best so far.

        The best is what renders best in one step, because that is how it will be used, unless the objective
        knows better.
        """
        trained = {name: value.clone() for name, value in self.denoiser.state_dict().items()}
        self.denoiser.load_state_dict(self._averaged)
        self.denoiser.eval()
        row = self._errors() | self.listen(self.denoiser)
        if row[self._objective.criterion] < self.progress.best:
            self.progress.best = row[self._objective.criterion]
            self.best = {name: value.clone() for name, value in self._averaged.items()}
        self.denoiser.load_state_dict(trained)
        self.progress.history.append({"step": self.progress.step, **row})
        return row

    def _errors(self) -> dict[str, float]:
        """What the objective says, and the error of one-step sampling in dB, on fixed sequences."""
        generator = torch.Generator().manual_seed(weights_seed(self.config.seed))
        batch = self._validation.fixed(VALIDATION)
        draws = self._objective.draw(batch, generator)
        denoise = self._denoise(batch)
        sigmas = self.diffusion.validation_sigmas
        row = self._objective.validate(denoise, self._validation, batch, draws, sigmas)
        found = sample(denoise, draws.noise[:, 0], 1)
        row["one_step_db"] = self._validation.error_db(found, batch)
        return row


def _check(train: Train) -> None:
    for name in ("steps", "batch_size", "mini_batch_size", "validate_every"):
        if getattr(train, name) < 1:
            raise UserError(f"train.{name} must be at least 1")


def _parameter_groups(denoiser: Denoiser, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for the optimiser: those that decay, then those that do not."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in denoiser.named_parameters():
        groups[denoiser.decays(name, parameter)].append(parameter)
    return [
        {"params": groups[True], "weight_decay": weight_decay},
        {"params": groups[False], "weight_decay": 0.0},
    ]
