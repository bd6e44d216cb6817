"""Building blocks of the denoisers. Letters as in `diffsynth` and `diffsynth.models.parts.denoiser`."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from diffsynth.models.parts.precision import full_precision
from diffsynth.models.parts.row_seeds import draw_rows


class SigmaEmbedding(nn.Module):
    """Noise level to a vector: fixed Fourier features and a small network.

    The published system learns its frequencies; here they are multiples of pi / 2, because sigma
    lies in 0..1 and the first pair is then alpha and beta themselves.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, units: int, pairs: int = 8) -> None:
        super().__init__()
        frequencies = torch.arange(1, pairs + 1).repeat(2) * (math.pi / 2)
        phases = torch.tensor([0.0, -math.pi / 2]).repeat_interleave(pairs)  # cosines, sines
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.register_buffer("phases", phases, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * pairs, units), nn.SiLU(), nn.Linear(units, units))

    def forward(self, sigma: Tensor) -> Tensor:
        """[...] to [..., units]."""
        return self.mlp(torch.addcmul(self.phases, sigma[..., None], self.frequencies).cos())


class DepthwiseConv(nn.Module):
    """A short convolution along the last but one axis, one filter per channel, without padding.

    Written as shifted products with a backward pass of its own: on a CPU it trains three times
    faster than `conv1d` with groups, which would have to transpose besides.
    """

    def __init__(self, units: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kernel, units).uniform_(-(kernel**-0.5), kernel**-0.5))
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        """[..., l + kernel - 1, d] to [..., l, d]."""
        if not torch.is_grad_enabled():
            return _depthwise(x, self.weight, self.bias)
        return full_precision(_Depthwise.apply, x, self.weight, self.bias)


def _depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    y = bias
    for x_i, weight_i in zip(_shifts(x, len(weight)), weight.unbind(0), strict=True):
        y = torch.addcmul(y, x_i, weight_i)
    return y


def _shifts(x: Tensor, kernel: int) -> list[Tensor]:
    return [x.narrow(-2, i, x.shape[-2] - kernel + 1) for i in range(kernel)]


class _Depthwise(torch.autograd.Function):
    """`_depthwise`; autograd alone would fill and add up one whole gradient of x per shift."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _depthwise(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        dx = torch.zeros_like(x)
        dweight = []
        for dx_i, x_i, weight_i in zip(
            _shifts(dx, len(weight)), _shifts(x, len(weight)), weight.unbind(0), strict=True
        ):
            dx_i.addcmul_(dy, weight_i)
            dweight.append((dy * x_i).flatten(0, -2).sum(0))
        return dx, torch.stack(dweight), dy.flatten(0, -2).sum(0)


class ChannelDropout(nn.Module):
    """In training, drops channels, each throughout a sequence, and makes up for it in the others.

    Args:
        share: of the channels that are dropped.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """[b, l, h]; in evaluation as it is."""
        if not (self.training and self.share):
            return x
        kept = draw_rows((len(x), 1, x.shape[-1]), torch.device("cpu")) >= self.share
        return x * kept.to(x.device) / (1 - self.share)


class HeadBlock(nn.Module):
    """Residual block: normalise, scale and shift (FiLM), mix neighbouring frames, mix channels."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(units, elementwise_affine=False)
        self.frames = DepthwiseConv(units, 3)
        self.mlp = nn.Sequential(nn.Linear(units, 2 * units), nn.SiLU(), nn.Linear(2 * units, units))
        with torch.no_grad():  # to begin with, frames are not mixed
            self.frames.weight.copy_(torch.tensor([[0.0], [1.0], [0.0]]).expand(3, units))

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """From [b, t, f, d], scale and shift [b, t, 1, d], to [b, t, f, d]; beyond the block frames are 0."""
        y = torch.addcmul(shift, self.norm(x), 1 + scale)
        return x + self.mlp(self.frames(functional.pad(y, (0, 0, 1, 1))))


class Head(nn.Module):
    """The diffusion network proper: predicts v of each block from x_t, sigma and the block's context.

    For Gaussian data the best v is linear in x_t, with a factor per band that depends on sigma only:
    a skip with such a factor takes that part over, so that the network is left with the context.
    """

    def __init__(self, bands: int, context: int, units: int, blocks: int = 1) -> None:
        super().__init__()
        self.sigma = nn.Sequential(SigmaEmbedding(units), nn.SiLU())
        self.skip = nn.Linear(units, bands)
        self.film = nn.Linear(units, 2 * units * blocks)
        self.context = nn.Sequential(nn.LayerNorm(context), nn.Linear(context, units))
        self.input = nn.Linear(bands, units)
        self.blocks = nn.ModuleList(HeadBlock(units) for _ in range(blocks))
        self.norm = nn.LayerNorm(units)
        self.output = nn.Linear(units, bands)
        # The best guess before anything is learned: v does not correlate with x_t for data of unit variance.
        for layer in (self.skip, self.film, self.output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x_t: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        """[b, t, f, k], [b, t] and [b, t, f, h] to v [b, t, f, k]; blocks do not see each other."""
        level = self.sigma(sigma)[:, :, None]
        films = self.film(level).chunk(2 * len(self.blocks), -1)
        x = self.input(x_t) + self.context(context)
        for block, scale, shift in zip(self.blocks, films[::2], films[1::2], strict=True):
            x = block(x, scale, shift)
        return torch.addcmul(self.output(self.norm(x)), self.skip(level), x_t)
