"""Networks that say the gains of whole sequences of hops; what is to come has no influence.

Shapes: b sequences of l hops, c values of a condition (`GainField.condition`), k gains at the end of every
hop: those of modes by age, then those of noise, in nepers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffsynth.midi.events import KEYS
from diffsynth.models.parts.denoiser import RecurrentDenoiser
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField

SCALE = 0.35  # nepers in a unit of what a network says
KEYED = 2  # maps of bands that keys and strikes make


def drop_channels(x: Tensor, share: float, training: bool) -> Tensor:
    """In training, some channels of x [b, l, .., h] become 0, each throughout a sequence."""
    mask = x.new_ones(len(x), *[1] * (x.ndim - 2), x.shape[-1])
    return x * functional.dropout(mask, share, training)


def band_maps(condition: Tensor, features: Features, keys: nn.Linear) -> Tensor:
    """[b, l, 2 + KEYED, bands] of a condition: levels of modes and noise, and what keys and strikes say."""
    parts = [features.bands, features.noise_bands, 2 * KEYS]
    modes, noise, struck = condition[..., : sum(parts)].split(parts, -1)
    noise = noise.repeat_interleave(features.bands // features.noise_bands, -1)
    return torch.stack([modes, noise, *keys(struck).unflatten(-1, (KEYED, -1)).unbind(-2)], 2)


def gains_of_bands(said: Tensor, features: Features) -> Tensor:
    """[b, l, k] of what is said of each band, [b, l, ages + 1, bands]."""
    noise = functional.avg_pool1d(said[:, :, -1], features.bands // features.noise_bands)
    return torch.cat([said[:, :, :-1].flatten(2), noise], -1)


class RecurrentGains(nn.Module):
    """A denoiser of the product that regresses: what it says of noise that is 0 throughout.

    Args:
        denoiser: of k bands, blocks of one hop.
        drop: share of the channels of the context that are dropped in training.
    """

    def __init__(self, denoiser: RecurrentDenoiser, drop: float = 0.0) -> None:
        super().__init__()
        self.denoiser, self.drop = denoiser, drop

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether weight decay may draw a parameter to zero."""
        return self.denoiser.decays(name, parameter)

    def forward(self, condition: Tensor) -> Tensor:
        """[b, l, c] to [b, l, k]."""
        b, l, _ = condition.shape  # noqa: E741
        context, _ = self.denoiser.encode(condition[:, :, None], self.denoiser.initial_state(b))
        context = drop_channels(context, self.drop, self.training)
        nothing = context.new_zeros(b, l, 1, self.denoiser.head.output.out_features)
        # At the noise level 1 the data are -v.
        return -SCALE * self.denoiser.denoise(nothing, context.new_ones(b, l), context)[:, :, 0]


class BandBlock(nn.Module):
    """A residual block: mix hops of the past and neighbouring bands, add what is known of the whole."""

    def __init__(self, channels: int, width: int, dilation: int, hops: int = 3, bands: int = 5) -> None:
        super().__init__()
        self.past = dilation * (hops - 1)
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.mix = nn.Conv2d(
            channels, channels, (hops, bands), dilation=(dilation, 1), padding=(0, bands // 2)
        )
        self.whole = nn.Linear(width, channels)
        self.output = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, whole: Tensor) -> Tensor:
        """From [b, channels, l, bands] and [b, l, width] to [b, channels, l, bands]."""
        y = x - x.mean(1, keepdim=True)
        y = y * torch.rsqrt(y.square().mean(1, keepdim=True) + 1e-4)  # over channels, so the past is enough
        y = y * self.scale[:, None, None] + self.shift[:, None, None]
        y = self.mix(functional.pad(y, (0, 0, self.past, 0)))
        return x + self.output(functional.silu(y + self.whole(whole).transpose(1, 2)[..., None]))


class BandNetwork(nn.Module):
    """Convolutions over hops and bands, whose weights all bands share, beside a small LSTM over everything.

    Maps of bands go in: levels of modes and of noise, and what keys and strikes say to each band. Gains are 0
    to begin with.

    Args:
        features: bands of gains; as many of modes as of noise, or a multiple.
        ages: gains of each mode.
        channels: of the maps.
        width: of the LSTM.
        dilations: hops between the taps of each block.
        drop: share of the channels of the LSTM that are dropped in training.
    """

    def __init__(
        self,
        features: Features,
        ages: int,
        channels: int = 24,
        width: int = 64,
        dilations: Sequence[int] = (1, 2, 4, 8, 16),
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.features, self.drop = features, drop
        bands, condition = features.bands, GainField.width(features)
        self.embed = nn.Sequential(nn.Linear(condition, width), nn.SiLU(), nn.LayerNorm(width))
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.keys = nn.Linear(2 * KEYS, KEYED * bands)
        self.input = nn.Conv2d(2 + KEYED, channels, (1, 3), padding=(0, 1))
        self.place = nn.Parameter(0.1 * torch.randn(channels, 1, bands))  # what sets bands apart
        self.blocks = nn.ModuleList(BandBlock(channels, width, dilation) for dilation in dilations)
        self.output = nn.Conv2d(channels, ages + 1, 1)
        self.bias = nn.Parameter(torch.zeros(ages + 1, bands))
        self.skip = nn.Linear(width, ages * bands + features.noise_bands)
        for last in (self.output, self.skip):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether weight decay may draw a parameter to zero."""
        return parameter.ndim >= 2 and name not in ("bias", "place")

    def forward(self, condition: Tensor) -> Tensor:
        """[b, l, c] to [b, l, k]."""
        whole = self.embed(condition)
        whole = drop_channels(whole + self.lstm(whole)[0], self.drop, self.training)
        maps = band_maps(condition, self.features, self.keys)
        x = self.input(maps.transpose(1, 2)) + self.place
        for block in self.blocks:
            x = block(x, whole)
        gains = gains_of_bands((self.output(x) + self.bias[:, None]).transpose(1, 2), self.features)
        return SCALE * (gains + self.skip(whole))
