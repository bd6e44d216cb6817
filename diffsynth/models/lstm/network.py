"""The LSTM denoiser."""

import math

import torch
from torch import Tensor, nn

from diffsynth.models.lstm import Lstm
from diffsynth.models.parts.denoiser import RecurrentDenoiser, State
from diffsynth.models.parts.precision import full_precision

# Memory of the cells at initialisation, in frames: from almost 0 to about one and a half seconds.
SHORTEST, LONGEST = 2.0, 300.0


class LstmDenoiser(RecurrentDenoiser):
    """A trunk of stacked LSTM layers; the state is (h, c), each [b, layers, units]."""

    def __init__(self, config: Lstm, bands: int, cond: int) -> None:
        super().__init__(bands, cond, config.units, config.cond_units)
        self.lstm = nn.LSTM(config.cond_units, config.units, config.layers, batch_first=True)
        for layer in range(config.layers):
            _remember(getattr(self.lstm, f"bias_ih_l{layer}"))

    def initial_state(self, batch: int) -> State:
        """Zeros, see `Denoiser`."""
        like = next(self.parameters())
        h, c = like.new_zeros(2, batch, self.lstm.num_layers, self.lstm.hidden_size)
        return h, c

    def trunk(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The recurrence, see `Denoiser`."""
        h, c = (tensor.transpose(0, 1).contiguous() for tensor in state)
        y, (h, c) = full_precision(lambda x, *state: self.lstm(x, state), features, h, c)
        return y, (h.transpose(0, 1), c.transpose(0, 1))


@torch.no_grad()
def _remember(bias: Tensor) -> None:
    """Set input and forget gates for memories of many lengths (Tallec & Ollivier 2018, section 3).

    The paper draws lengths uniformly; here they are spread evenly in the logarithm, like the step
    sizes of S6.
    """
    units = len(bias) // 4  # gates in the order input, forget, cell, output
    odds = torch.logspace(math.log10(SHORTEST), math.log10(LONGEST), units) - 1
    bias[:units] = -odds.log()
    bias[units : 2 * units] = odds.log()
