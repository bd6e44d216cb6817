"""AdamW, whose weight decay leaves alone what a denoiser says must not decay."""

from typing import Any

import torch
from torch import nn

from diffsynth.models.parts.denoiser import Denoiser
from diffsynth.training.config import Train


def make_optimiser(denoiser: Denoiser, train: Train) -> torch.optim.Optimizer:
    """The optimiser of a network; the learning rate is set anew in every step."""
    groups = _parameter_groups(denoiser, train.weight_decay)
    return torch.optim.AdamW(groups, lr=train.learning_rate, fused=True)


def _parameter_groups(denoiser: Denoiser, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for the optimiser: those that decay, then those that do not."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in denoiser.named_parameters():
        groups[denoiser.decays(name, parameter)].append(parameter)
    return [
        {"params": groups[True], "weight_decay": weight_decay},
        {"params": groups[False], "weight_decay": 0.0},
    ]
