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
    error = denoise(noisy(x, noise, sigma), sigma) - velocity(x, noise, sigma)
    total = weight.broadcast_to(x.shape).sum()
    return (weight * error.square()).sum() / total.clamp_min(torch.finfo(x.dtype).tiny)
