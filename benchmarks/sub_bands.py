"""Recurrent networks of gains that bands share: one recurrence over everything, and one for all bands.

After FullSubNet (Hao et al. 2021): what is known of the whole tells each band, whose recurrence follows it
and its neighbours. Shapes as in `gain_networks`; u units in each band.
"""

import torch
from gain_networks import KEYED, SCALE, band_maps, drop_channels, gains_of_bands
from torch import Tensor, nn
from torch.nn import functional

from diffsynth.midi.events import KEYS
from diffsynth.models.s6.network import SelectiveStateSpace
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField

STATE, CONV = 8, 4  # of selective state spaces
MIXED = 3  # bands that a layer mixes


class Recurrence(nn.Module):
    """Runs over whole sequences from silence on: an LSTM, or a selective state space after a norm.

    Args:
        model: "lstm" or "s6".
        units: that go in and out.
        inner: width inside a state space.
    """

    def __init__(self, model: str, units: int, inner: int) -> None:
        super().__init__()
        self.inner, self.lstm = inner, None
        if model == "lstm":
            self.lstm = nn.LSTM(units, units, batch_first=True)
        else:
            self.norm = nn.LayerNorm(units)
            self.space = SelectiveStateSpace(units, inner, STATE, CONV)

    def forward(self, x: Tensor) -> Tensor:
        """[b, l, u] to [b, l, u]."""
        if self.lstm is not None:
            return self.lstm(x)[0]
        tail, state = (x.new_zeros(len(x), *size) for size in ((CONV - 1, self.inner), (self.inner, STATE)))
        return self.space(self.norm(x), tail, state)[0]


class SubBandLayer(nn.Module):
    """Follows each band over time, then mixes it with its neighbours; both are residual."""

    def __init__(self, model: str, units: int, width: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(units), nn.LayerNorm(units)
        self.whole = nn.Linear(width, units)
        self.recurrence = Recurrence(model, units, units)
        self.mix = nn.Sequential(nn.Linear(MIXED * units, 2 * units), nn.SiLU(), nn.Linear(2 * units, units))

    def forward(self, x: Tensor, whole: Tensor) -> Tensor:
        """From [b, l, bands, u] and [b, l, width] to [b, l, bands, u]."""
        b, l, bands, u = x.shape  # noqa: E741
        y = (self.before(x) + self.whole(whole)[:, :, None]).transpose(1, 2).reshape(b * bands, l, u)
        x = x + self.recurrence(y).view(b, bands, l, u).transpose(1, 2)
        y = functional.pad(self.between(x), (0, 0, MIXED // 2, MIXED // 2))
        return x + self.mix(torch.cat([y[:, :, i : i + bands] for i in range(MIXED)], -1))


class SubBandNetwork(nn.Module):
    """Gains by layers in each band, beside a recurrence over everything; they are 0 to begin with.

    Args:
        model: "lstm" or "s6".
        features: bands of gains; as many of modes as of noise, or a multiple.
        ages: gains of each mode.
        units: in each band.
        width: of the recurrence over everything.
        layers: in each band.
        drop: share of the channels of what is known of the whole that are dropped in training.
    """

    def __init__(
        self,
        model: str,
        features: Features,
        ages: int,
        units: int = 24,
        width: int = 64,
        layers: int = 2,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.features, self.drop, bands = features, drop, features.bands
        self.embed = nn.Sequential(
            nn.Linear(GainField.width(features), width), nn.SiLU(), nn.LayerNorm(width)
        )
        self.trunk = Recurrence(model, width, 2 * width)
        self.keys = nn.Linear(2 * KEYS, KEYED * bands)
        self.input = nn.Conv1d(2 + KEYED, units, 5, padding=2)
        self.place = nn.Parameter(0.1 * torch.randn(bands, units))  # what sets bands apart
        self.layers = nn.ModuleList(SubBandLayer(model, units, width) for _ in range(layers))
        self.norm = nn.LayerNorm(units)
        self.output = nn.Linear(units, ages + 1)
        self.bias = nn.Parameter(torch.zeros(bands, ages + 1))
        self.skip = nn.Linear(width, ages * bands + features.noise_bands)
        for last in (self.output, self.skip):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether weight decay may draw a parameter to zero."""
        return parameter.ndim >= 2 and name not in ("bias", "place") and not name.endswith("A_log")

    def forward(self, condition: Tensor) -> Tensor:
        """[b, l, c] to [b, l, k]."""
        shape, whole = condition.shape[:2], self.embed(condition)
        whole = drop_channels(whole + self.trunk(whole), self.drop, self.training)
        maps = band_maps(condition, self.features, self.keys)
        x = self.input(maps.flatten(0, 1)).unflatten(0, shape).transpose(2, 3) + self.place
        for layer in self.layers:
            x = layer(x, whole)
        gains = gains_of_bands((self.output(self.norm(x)) + self.bias).transpose(2, 3), self.features)
        return SCALE * (gains + self.skip(whole))
