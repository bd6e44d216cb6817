"""What a network is trained to do: denoise, or say at once what is heard.

`velocity` is diffusion: the error of v at every noise level, counted in data. The others train what the
network makes of noise in one step, and count what is heard of it (`Examples.heard`), which may be other
than the data: which of two parts is too loud need not be known, only how loud their sum is. `regression` is
the mean absolute difference, by which a network says the median and learns to overlook its noise. `energy`
is the energy score (Gneiting & Raftery 2007, section 4.3), by which it learns to draw samples: two of them
are to be as far from each other as from the recording. `spectra` is regression by the sound itself: the
distance of its spectra from those of the recording. In both kinds of regression noise is 0: there is nothing
to be drawn.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffsynth.config import choice
from diffsynth.diffusion import Denoise, sample, squared_error, total_weight
from diffsynth.training.batches import Batch, Examples

LEAST = 1e-3  # of a distance, so that it has a gradient where it is 0


@dataclass(frozen=True)
class Draws:
    """Random numbers of a batch: noise [b, d, t, f, k] of d draws, and noise levels [b, t]."""

    noise: Tensor
    sigma: Tensor

    def part(self, rows: slice) -> "Draws":
        """Those of some of the sequences."""
        return Draws(self.noise[rows], self.sigma[rows])

    def after(self, lead: int) -> "Draws":
        """Those of the blocks from `lead` on."""
        return Draws(self.noise[:, :, lead:], self.sigma[:, lead:])

    def to(self, device: torch.device) -> "Draws":
        """The same on a device."""
        return Draws(*(each.to(device, non_blocking=True) for each in (self.noise, self.sigma)))


class Objective(ABC):
    """How far a network is from what it is to do.

    Attributes:
        draws: of noise that it takes for every sequence.
        noisy: whether noise matters; else it is 0.
        by_sound: whether it takes `Examples.sound_distance`.
        criterion: number of a validation by which one network is better than another, if it is lower.
    """

    draws = 1
    noisy = True
    by_sound = False
    criterion = "one_step_db"

    def draw(self, shape: Sequence[int], generator: torch.Generator) -> Draws:
        """All that is random of a batch whose data are of this shape, [b, t, f, k]."""
        b, *rest = shape
        sigma = torch.rand((b, rest[0]), generator=generator)
        shape = b, self.draws, *rest
        return Draws(torch.randn(shape, generator=generator) if self.noisy else torch.zeros(shape), sigma)

    def validate(
        self,
        denoise: Denoise,
        data: Examples,
        batch: Batch,
        draws: Draws,
        sigmas: Sequence[float],  # noqa: ARG002
    ) -> dict[str, float]:
        """Numbers of a validation; `sigmas` are noise levels, for those who learn from several."""
        loss = self.error(denoise, data, batch, draws) / self.total(batch)
        return {"validation_loss": float(loss)}

    @abstractmethod
    def total(self, batch: Batch) -> Tensor:
        """What the error of a batch is divided by, above 0."""

    @abstractmethod
    def error(self, denoise: Denoise, data: Examples, batch: Batch, draws: Draws) -> Tensor:
        """Sum of errors: those of parts of a batch add up."""


class Velocity(Objective):
    """v-diffusion, see `diffsynth.diffusion.loss`."""

    def total(self, batch: Batch) -> Tensor:
        """See `Objective`."""
        return total_weight(batch.x, batch.weight)

    def error(self, denoise: Denoise, data: Examples, batch: Batch, draws: Draws) -> Tensor:  # noqa: ARG002
        """See `Objective`."""
        return squared_error(denoise, batch.x, draws.noise[:, 0], draws.sigma, batch.weight)

    def validate(
        self, denoise: Denoise, data: Examples, batch: Batch, draws: Draws, sigmas: Sequence[float]
    ) -> dict[str, float]:
        """The loss at each of `sigmas`, and their mean."""
        row = {}
        for level in sigmas:
            at_level = replace(draws, sigma=torch.full_like(draws.sigma, level))
            row[f"validation_loss_{level:g}"] = float(
                self.error(denoise, data, batch, at_level) / self.total(batch)
            )
        return row | {"validation_loss": sum(row.values()) / len(row)}


class Regression(Objective):
    """Mean absolute difference of what is heard."""

    noisy = False

    def total(self, batch: Batch) -> Tensor:
        """See `Objective`."""
        return batch.learned.sum().clamp_min(1.0)

    def error(self, denoise: Denoise, data: Examples, batch: Batch, draws: Draws) -> Tensor:
        """See `Objective`."""
        heard = data.heard(sample(denoise, draws.noise[:, 0], 1), batch)
        distance = (heard - data.recorded(batch)).abs().mean(-1, keepdim=True)
        return (batch.learned * distance).sum()


class Energy(Regression):
    """Energy score of what is heard in each hop, by root mean square distances over its values."""

    draws = 2
    noisy = True
    criterion = "validation_loss"  # of one sample, spread is an error

    def error(self, denoise: Denoise, data: Examples, batch: Batch, draws: Draws) -> Tensor:
        """See `Objective`."""
        first, second = (data.heard(sample(denoise, draws.noise[:, i], 1), batch) for i in range(2))
        recorded = data.recorded(batch)
        far = 0.5 * (_distance(first, recorded) + _distance(second, recorded))
        return (batch.learned * (far - 0.5 * _distance(first, second))).sum()


class Spectra(Regression):
    """Distance of the sound from the recording, see `diffsynth.training.spectra`; hops count alike."""

    by_sound = True
    criterion = "validation_loss"

    def error(self, denoise: Denoise, data: Examples, batch: Batch, draws: Draws) -> Tensor:
        """See `Objective`."""
        distance = data.sound_distance(sample(denoise, draws.noise[:, 0], 1), batch)
        return (batch.learned.sum((1, 2, 3)) * distance).sum()


OBJECTIVES: dict[str, Objective] = {
    "velocity": Velocity(),
    "regression": Regression(),
    "energy": Energy(),
    "spectra": Spectra(),
}


def objective_of(name: str) -> Objective:
    """The objective of this name.

    Raises:
        UserError: there is none.
    """
    return OBJECTIVES[choice("diffusion.objective", name, OBJECTIVES)]


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b).square().mean(-1, keepdim=True) + LEAST**2).sqrt()
