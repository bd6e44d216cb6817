"""AdamW, whose weight decay leaves alone what a network says must not decay; rates of its steps."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from diffsynth.training.config import Train

WARM_UP = 0.05  # share of all steps in which the learning rate rises


class Network(Protocol):
    """What is optimised, for example a `Denoiser`."""

    def named_parameters(self) -> Any:
        """As of a module."""

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether weight decay may draw a parameter to zero."""


def make_optimiser(
    denoiser: Network, train: Train, beside: Sequence[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The optimiser of a network, and of parameters beside it, which do not decay.

    The learning rate is set anew in every step.
    """
    groups = _parameter_groups(denoiser, train.weight_decay)
    groups[1]["params"] += beside
    return torch.optim.AdamW(groups, lr=train.learning_rate, fused=True)


def learning_rate(step: int, train: Train) -> float:
    """Learning rate of a step: a short rise, then a cosine to zero over all steps."""
    rise = max(1, round(WARM_UP * train.steps))
    fall = 0.5 * (1 + math.cos(math.pi * step / train.steps))
    return train.learning_rate * min(1.0, (step + 1) / rise) * fall


def kept(step: int, average: float) -> float:
    """What a step keeps of the exponential average of the weights, less at the beginning."""
    return min(average, (1 + step) / (10 + step))


def _parameter_groups(denoiser: Network, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for the optimiser: those that decay, then those that do not."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in denoiser.named_parameters():
        groups[denoiser.decays(name, parameter)].append(parameter)
    return [
        {"params": groups[True], "weight_decay": weight_decay},
        {"params": groups[False], "weight_decay": 0.0},
    ]
