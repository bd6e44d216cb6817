"""The training objective: mean squared error of v."""

import torch
from torch import Tensor

from diffsynth.diffusion.process import Denoise, noisy, velocity


def loss(denoise: Denoise, x: Tensor, noise: Tensor, sigma: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error of v, each value counted by its weight; 0 where nothing has weight.

    Uniform over sigma: in v the error is of unit scale at every noise level, so that no weighting by
    noise level is added (Salimans & Ho 2022, "SNR + 1").

    Args:
        denoise: The network.
        x: Clean data [b, t, f, k].
        noise: Standard normal, of the shape of x.
        sigma: Noise level of each block [b, t].
        weight: Not negative, broadcast to the shape of x; 0 for what is not heard or not to be learned.
    """
    return squared_error(denoise, x, noise, sigma, weight) / total_weight(x, weight)


def squared_error(denoise: Denoise, x: Tensor, noise: Tensor, sigma: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of the squared errors of v: parts of a batch add up; arguments as for `loss`."""
    error = denoise(noisy(x, noise, sigma), sigma) - velocity(x, noise, sigma)
    return (weight * error.square()).sum()


def total_weight(x: Tensor, weight: Tensor) -> Tensor:
    """Sum of the weights of all values of x, above 0, so that one may divide by it."""
    return weight.broadcast_to(x.shape).sum().clamp_min(torch.finfo(x.dtype).tiny)
