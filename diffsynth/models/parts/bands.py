"""Layers in bands, with weights that all bands share, after FullSubNet (Hao et al. 2021).

What is known of everything tells each band, whose recurrence follows it and its neighbours.

Shapes: n bands of u units each.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffsynth.models.parts.denoiser import State
from diffsynth.models.parts.parameters import RecurrentConfig

KEYED = 2  # maps of bands that the rest of the condition makes: keys, strikes and pedals
SEEN = 5  # bands of the maps that a band sees
MIXED = 3  # bands that a layer mixes


class BandLayer(nn.Module):
    """Follows each band over time, then mixes it with its neighbours; both are residual.

    Args:
        config: its recurrence and its units u.
        width: h of what is known of everything.
    """

    def __init__(self, config: RecurrentConfig, width: int) -> None:
        super().__init__()
        units = config.band_units
        self.before, self.between = nn.LayerNorm(units), nn.LayerNorm(units)
        self.whole = nn.Linear(width, units)
        self.recurrence = config.new_band_recurrence(units)
        self.mix = nn.Sequential(nn.Linear(MIXED * units, 2 * units), nn.SiLU(), nn.Linear(2 * units, units))

    def forward(self, x: Tensor, whole: Tensor, state: State) -> tuple[Tensor, State]:
        """From [b, l, n, u] and [b, l, h] to [b, l, n, u]; the state is [b, n, ..] each."""
        b, l, n, u = x.shape  # noqa: E741
        y = (self.before(x) + self.whole(whole)[:, :, None]).transpose(1, 2).reshape(b * n, l, u)
        y, state = self.recurrence(y, tuple(tensor.flatten(0, 1) for tensor in state))
        x = x + y.view(b, n, l, u).transpose(1, 2)
        y = functional.pad(self.between(x), (0, 0, MIXED // 2, MIXED // 2))
        x = x + self.mix(torch.cat([y[:, :, i : i + n] for i in range(MIXED)], -1))
        return x, tuple(tensor.unflatten(0, (b, n)) for tensor in state)


class BandLayers(nn.Module):
    """What the bands say the data are likely to be; 0 to begin with.

    Args:
        config: sizes.
        values: k.
        cond: c.
        ages: see `ModelConfig.new_denoiser`.
        noise: likewise.
    """

    up: Tensor  # [noise, n] shares of bands of noise in those of modes, and back
    down: Tensor  # [n, noise]

    def __init__(self, config: RecurrentConfig, values: int, cond: int, ages: int, noise: int) -> None:
        super().__init__()
        self.count, self.noise = (values - noise) // ages, noise
        units, width = config.band_units, config.cond_units + config.units
        groups = 2 if noise else 1
        self.keys = nn.Linear(cond - self.count - noise, KEYED * self.count)
        self.input = nn.Conv1d(groups + KEYED, units, SEEN, padding=SEEN // 2)
        self.place = nn.Parameter(0.1 * torch.randn(self.count, units))  # what sets bands apart
        layers = [BandLayer(config, width) for _ in range(config.band_layers)]
        self.layers, self._each = nn.ModuleList(layers), len(layers[0].recurrence.initial_state(1))
        self.norm = nn.LayerNorm(units)
        self.output = nn.Linear(units, ages + (noise > 0))
        self.bias = nn.Parameter(torch.zeros(self.count, ages + (noise > 0)))
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        up = _shares(noise, self.count)
        self.register_buffer("up", up, persistent=False)
        self.register_buffer("down", (up / up.sum(1, keepdim=True).clamp_min(1e-6)).T, persistent=False)

    def initial_state(self, batch: int) -> State:
        """Zeros [batch, n, ..] of each layer, one after another."""
        flat: list[Tensor] = []
        for layer in self.layers:
            flat += layer.recurrence.initial_state(batch * self.count)  # type: ignore[operator, union-attr]
        return tuple(z.unflatten(0, (batch, self.count)) for z in flat)

    def forward(self, cond: Tensor, whole: Tensor, state: State) -> tuple[Tensor, State]:
        """From the condition [b, l, c] and what is known of everything [b, l, h] to data [b, l, k]."""
        maps = self._maps(cond)
        x = self.input(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]).transpose(2, 3) + self.place
        after: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            x, own = layer(x, whole, state[i * self._each : (i + 1) * self._each])
            after += own
        said = (self.output(self.norm(x)) + self.bias).transpose(2, 3)  # [b, l, ages + 1, n]
        if not self.noise:
            return said.flatten(2), tuple(after)
        return torch.cat([said[:, :, :-1].flatten(2), said[:, :, -1] @ self.down], -1), tuple(after)

    def _maps(self, cond: Tensor) -> Tensor:
        """[b, l, m, n]: levels of modes, of noise, and what the rest of the condition says to each band."""
        levels, rest = cond[..., : self.count], cond[..., self.count + self.noise :]
        maps = [levels[:, :, None], self.keys(rest).unflatten(-1, (KEYED, self.count))]
        if self.noise:
            maps.insert(1, (cond[..., self.count : self.count + self.noise] @ self.up)[:, :, None])
        return torch.cat(maps, 2)


def _shares(few: int, many: int) -> Tensor:
    """[few, many] shares of few bands in many over the same range: straight lines from one to the next."""
    if few < 2:
        return torch.ones(few, many)
    place = torch.arange(many) * (few - 1) / max(many - 1, 1)
    return (1 - (place - torch.arange(few)[:, None]).abs()).clamp_min(0)
