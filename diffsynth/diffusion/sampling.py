"""The noise schedule and the sampler (DDIM): noise in, data out, as pure functions."""

from itertools import pairwise

import torch
from torch import Tensor

from diffsynth.diffusion.process import Denoise, clean
from diffsynth.errors import UserError


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
