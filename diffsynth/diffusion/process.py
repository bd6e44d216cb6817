"""v-diffusion on a half circle: data, noise and velocity, with no network and no randomness inside.

Data x and noise n of unit variance are mixed by an angle (design after Salimans & Ho 2022, section 4
and appendix D, with the schedule of the published synthesizer)::

    x_t = alpha x + beta n        alpha = cos(pi sigma / 2)
    v   = alpha n - beta x        beta  = sin(pi sigma / 2)

so that (x_t, v) is (x, n) turned, and turning back recovers both. sigma is 0 for data, 1 for noise.
Here sigma has the leading axes of x, e.g. [b, t] against [b, t, f, k]: one noise level per block.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

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


def _shares(sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """`alpha_beta` with trailing axes that broadcast against x."""
    return alpha_beta(sigma.reshape(sigma.shape + (1,) * (x.ndim - sigma.ndim)))
