"""v-diffusion on a half circle: noising, loss and sampling, with no network and no randomness inside.

Data x and noise n of unit variance are mixed by an angle (design after Salimans & Ho 2022, section 4
and appendix D, with the schedule of the published synthesizer)::

    x_t = alpha x + beta n        alpha = cos(pi sigma / 2)
    v   = alpha n - beta x        beta  = sin(pi sigma / 2)

so that (x_t, v) is (x, n) turned, and turning back recovers both. sigma is 0 for data, 1 for noise.
Here sigma has the leading axes of x, e.g. [b, t] against [b, t, f, k]: one noise level per block.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from diffsynth.errors import UserError

Denoise = Callable[[Tensor, Tensor], Tensor]
"""A network as the diffusion sees it: (x_t [b, t, f, k], sigma [b, t]) -> v [b, t, f, k]."""


def alpha_beta(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of data and noise at noise levels 0..1, of the shape of sigma.

    The cosine is taken as a sine, so that alpha is exactly 0 at sigma = 1, where rounding of pi / 2
    would leave a trace of x.
    """
    return torch.sin((1 - sigma) * (math.pi / 2)), torch.sin(sigma * (math.pi / 2))


def noisy(x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """x_t, of the shape of x."""
    alpha, beta = _shares(sigma, x)
    return alpha * x + beta * noise


def velocity(x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """v, what the network has to predict, of the shape of x."""
    alpha, beta = _shares(sigma, x)
    return alpha * noise - beta * x


def clean(x_t: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
    """The x that x_t and v belong to."""
    alpha, beta = _shares(sigma, x_t)
    return alpha * x_t - beta * v


def noise_of(x_t: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
    """The noise that x_t and v belong to."""
    alpha, beta = _shares(sigma, x_t)
    return beta * x_t + alpha * v


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


def schedule(steps: int) -> Tensor:
    """Noise levels of a sampler, linear from 1 to 0 [steps + 1].

    Raises:
        UserError: there is no step at all.
    """
    if steps < 1:
        raise UserError(f"sampling takes at least one step, not {steps}")
    return torch.linspace(1.0, 0.0, steps + 1)


def sample(denoise: Denoise, noise: Tensor, steps: int) -> Tensor:
    """Turn noise into data in `steps` calls of the network, deterministically (DDIM, Song et al. 2021).

    On the half circle a step of DDIM turns (x_t, v) by the difference of the two angles (Salimans &
    Ho 2022, appendix D), which is `clean` for the difference of the two noise levels. One step gives
    exactly -v at sigma = 1, the mean of the data.

    Args:
        denoise: The network.
        noise: Standard normal [b, t, f, k].
        steps: At least 1.

    Returns:
        x, of the shape of noise.
    """
    return sample_levels(
        denoise, noise, schedule(steps).to(noise)[:, None, None].expand(-1, *noise.shape[:2])
    )


def sample_levels(denoise: Denoise, noise: Tensor, levels: Tensor) -> Tensor:
    """`sample` along given noise levels from 1 to 0, [steps + 1, b, t]."""
    x_t = noise
    for level, next_level in pairwise(levels.unbind()):
        x_t = clean(x_t, denoise(x_t, level), level - next_level)
    return x_t


def _shares(sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """`alpha_beta` with trailing axes that broadcast against x."""
    return alpha_beta(sigma.reshape(sigma.shape + (1,) * (x.ndim - sigma.ndim)))
