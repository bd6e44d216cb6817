"""The layers of the LSTM denoiser."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffsynth.models.parts.denoiser import State
from diffsynth.models.parts.precision import full_precision
from diffsynth.models.parts.recurrence import Recurrence

# Memory of the cells at initialisation, in frames: from almost 0 to about one and a half seconds.
SHORTEST, LONGEST = 2.0, 300.0


class LstmLayers(Recurrence):
    """Stacked LSTM layers; the state is (h, c), each [b, layers, units]."""

    def __init__(self, inputs: int, units: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, layers, batch_first=True)
        for layer in range(layers):
            _remember(getattr(self.lstm, f"bias_ih_l{layer}"))

    def initial_state(self, batch: int) -> State:
        """Zeros, see `Recurrence`."""
        like = next(self.parameters())
        h, c = like.new_zeros(2, batch, self.lstm.num_layers, self.lstm.hidden_size)
        return h, c

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Recurrence`."""
        if torch.compiler.is_exporting():
            return self._step_by_step(x, state)
        h, c = (tensor.transpose(0, 1).contiguous() for tensor in state)
        y, (h, c) = full_precision(lambda x, *state: self.lstm(x, state), x, h, c)
        return y, (h.transpose(0, 1), c.transpose(0, 1))

    def _step_by_step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The equations written out, because the exporter cannot take an LSTM of many sequences."""
        last: list[tuple[Tensor, Tensor]] = []
        for weights, h, c in zip(self.lstm.all_weights, state[0].unbind(1), state[1].unbind(1), strict=True):
            w_x, w_h, b_x, b_h = weights
            ys: list[Tensor] = []
            for x_t in functional.linear(x, w_x, b_x).unbind(1):
                i, f, g, o = (x_t + functional.linear(h, w_h, b_h)).chunk(4, -1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                ys.append(h)
            x = torch.stack(ys, 1)
            last.append((h, c))
        h, c = (torch.stack(each, 1) for each in zip(*last, strict=True))
        return x, (h, c)


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
