"""The denoiser that carries a recurrent state, whatever its recurrence."""

import torch
from torch import Tensor, nn

from diffsynth.diffusion import alpha_beta
from diffsynth.models.parts.bands import BandLayers
from diffsynth.models.parts.denoiser import Denoiser, State
from diffsynth.models.parts.layers import ChannelDropout, Head
from diffsynth.models.parts.parameters import RecurrentConfig


class RecurrentDenoiser(Denoiser):
    """Recurrences over the condition, which carry all memory, and a diffusion head for each block.

    What is known of everything, the embedded condition and a recurrence over it, is told to layers in each
    band, which say what the data are likely to be (`BandLayers`). The head says the rest of v.

    Args:
        config: its size.
        values: k.
        cond: c.
        ages: see `ModelConfig.new_denoiser`.
        noise: likewise.
    """

    def __init__(self, config: RecurrentConfig, values: int, cond: int, ages: int, noise: int) -> None:
        super().__init__()
        units, embedded = config.units, config.cond_units
        self.embed = nn.Sequential(nn.Linear(cond, embedded), nn.SiLU(), nn.LayerNorm(embedded))
        self.trunk = config.new_recurrence(embedded, units, config.layers)
        self.drop = ChannelDropout(config.dropout)
        self.head = Head(values, embedded + units, units)
        self.bands = BandLayers(config, values, cond, ages, noise) if config.band_layers else None
        self._width, self._own = embedded + units, len(self.trunk.initial_state(1))

    def initial_state(self, batch: int) -> State:
        """Zeros, see `Denoiser`: those of the trunk, then those of each layer in bands."""
        state = self.trunk.initial_state(batch)
        return state if self.bands is None else (*state, *self.bands.initial_state(batch))

    def encode(self, cond: Tensor, state: State) -> tuple[Tensor, State]:
        """Context of each frame.

        Args:
            cond: Condition [b, t, f, c].
            state: State before the first of these blocks.

        Returns:
            Context [b, t, f, h], frame i depending on frames up to i only, and the state after the last. The
            last k values are what the bands say, if there are layers in bands.
        """
        frames, blocks = cond.flatten(1, 2), cond.shape[1:3]
        embedded = self.embed(frames)
        hidden, after = self.trunk(embedded, state[: self._own])
        context = self.drop(torch.cat([embedded, hidden], -1))
        if self.bands is not None:
            said, of_bands = self.bands(frames, context, state[self._own :])
            context, after = torch.cat([context, said], -1), (*after, *of_bands)
        return context.unflatten(1, blocks), after

    def denoise(self, x_t: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        """Predicted v [b, t, f, k], see `Denoiser`; the context is [b, t, f, h]."""
        if self.bands is None:
            return self.head(x_t, sigma, context)
        known, said = context[..., : self._width], context[..., self._width :]
        beta = alpha_beta(sigma)[1][:, :, None, None]
        return self.head(x_t, sigma, known) - beta * said  # v is alpha noise - beta x

    @torch.no_grad()
    def ignore_noise(self) -> None:
        """See `Denoiser`."""
        for parameter in (self.head.input.weight, *self.head.skip.parameters()):
            parameter.zero_()

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """As for every `Denoiser`; nor do what sets bands apart, and the rates of S6, as in Mamba's code."""
        return super().decays(name, parameter) and not name.endswith(("A_log", "bands.place", "bands.bias"))
