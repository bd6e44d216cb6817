"""The layers of the S6 denoiser: selective state spaces (Gu & Dao 2023, Mamba)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffsynth.models.parts.denoiser import State
from diffsynth.models.parts.layers import DepthwiseConv
from diffsynth.models.parts.recurrence import Recurrence
from diffsynth.models.parts.scan import selective_scan
from diffsynth.models.s6 import S6

# Step sizes at initialisation (Mamba, section 3.6), log-uniform between these.
MIN_STEP, MAX_STEP = 1e-3, 0.1


class SelectiveStateSpace(nn.Module):
    """One Mamba block without its norm and residual (figure 3 of the paper).

    With d the inner width: (x, z) = Linear(input); x = SiLU(causal conv(x)); step, B and C depend
    on x; output = Linear((scan(x) + D x) SiLU(z)).

    Args:
        units: Width outside.
        inner: Width inside, d.
        state: n.
        conv: Kernel of the causal convolution.
    """

    def __init__(self, units: int, inner: int, state: int, conv: int) -> None:
        super().__init__()
        rank = math.ceil(units / 16)
        self.split = [rank, state, state]
        self.input = nn.Linear(units, 2 * inner, bias=False)
        self.conv = DepthwiseConv(inner, conv)
        self.select = nn.Linear(inner, sum(self.split), bias=False)
        self.step = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(inner, 1))  # S4D-real
        self.D = nn.Parameter(torch.ones(inner))
        self.output = nn.Linear(inner, units, bias=False)
        nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
        dt = torch.empty(inner).uniform_(math.log(MIN_STEP), math.log(MAX_STEP)).exp()
        self.step.bias.data.copy_(dt.expm1().log())  # the inverse of softplus

    def forward(self, x: Tensor, tail: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run over a sequence.

        Args:
            x: Input [b, l, units].
            tail: The last inputs of the convolution [b, conv - 1, d].
            state: h of the scan [b, d, n].

        Returns:
            Output [b, l, units], and tail and state after it.
        """
        x, z = self.input(x).chunk(2, -1)
        x = torch.cat([tail, x], 1)
        tail = x[:, x.shape[1] - tail.shape[1] :]
        x = functional.silu(self.conv(x))
        rank, B, C = self.select(x).split(self.split, -1)
        dt = functional.softplus(self.step(rank))
        y, state = selective_scan(x, dt, -torch.exp(self.A_log), B, C, state)
        return self.output(torch.addcmul(y, x, self.D) * functional.silu(z)), tail, state


class S6Layers(Recurrence):
    """Pre-norm residual S6 layers; the state is (tail, h) of each layer, one after the other."""

    def __init__(self, inputs: int, units: int, layers: int, sizes: S6) -> None:
        super().__init__()
        self.inner, self.sizes = sizes.expand * units, sizes
        self.input = nn.Linear(inputs, units)
        # LayerNorm as in the paper, not the RMSNorm of its code: on a CPU it takes a third of the time.
        self.norms = nn.ModuleList(nn.LayerNorm(units) for _ in range(layers))
        self.layers = nn.ModuleList(
            SelectiveStateSpace(units, self.inner, sizes.state, sizes.conv) for _ in range(layers)
        )

    def initial_state(self, batch: int) -> State:
        """Zeros, see `Recurrence`."""
        like = self.input.weight
        tail = like.new_zeros(batch, self.sizes.conv - 1, self.inner)
        h = like.new_zeros(batch, self.inner, self.sizes.state)
        return tuple(z.clone() for _ in self.layers for z in (tail, h))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Recurrence`."""
        x = self.input(x)
        states: list[Tensor] = []
        for norm, layer, tail, h in zip(self.norms, self.layers, state[::2], state[1::2], strict=True):
            y, tail, h = layer(norm(x), tail, h)
            x = x + y
            states += tail, h
        return x, tuple(states)


class S6Band(Recurrence):
    """One pre-norm S6 layer without residual; the state is (tail, h)."""

    def __init__(self, units: int, sizes: S6) -> None:
        super().__init__()
        self.units, self.sizes = units, sizes
        self.norm = nn.LayerNorm(units)
        self.layer = SelectiveStateSpace(units, units, sizes.state, sizes.conv)

    def initial_state(self, batch: int) -> State:
        """Zeros, see `Recurrence`."""
        like = self.norm.weight
        tail = like.new_zeros(batch, self.sizes.conv - 1, self.units)
        return tail, like.new_zeros(batch, self.units, self.sizes.state)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Recurrence`."""
        tail, h = state
        y, tail, h = self.layer(self.norm(x), tail, h)
        return y, (tail, h)
