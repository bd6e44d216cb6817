"""The published network: a U-Net over the frequency bins of one block.

Here a frame is one STFT frame of the block, f = 5, and its k = N / 2 bins are the axis that the
convolutions run over; frames are channels. w is the base width (128 as published).

The description leaves open where biases are, which blocks have which parts, and how wide condition
and time are inside. One reading gives the published count of 44,363,653 parameters exactly, the
first and plainest one: every convolution and linear layer has a bias, every norm is affine, all
seven blocks have FiLM, condition and feed-forward, only the middle one has attention, the condition
enters every block at width w, and time at width 128. For w = 128:

==================================================  ==========
two convolutions of kernel 3 in each block          17,652,992
1x1 convolutions where a block changes its width     2,067,072
time, FiLM and condition of each block               1,915,392
feed-forward of each block, its norm included       11,094,144
the other two norms of each block                       18,432
attention                                            4,200,448
down and up                                          7,342,080
input, condition, time, output                          73,093
==================================================  ==========

A defect is kept, because it belongs to the network: the condition is added bin by bin, which puts
the time within the block along the axis of frequency.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffsynth.errors import UserError
from diffsynth.models.parts.denoiser import Denoiser, State
from diffsynth.models.parts.row_seeds import draw_rows
from diffsynth.models.unet import Unet
from diffsynth.representation.stft_frames import FRAMES

TIME = 128  # width of the embedded noise level
GROUPS = 8
DROPOUT = 0.1


class LearnedFourier(nn.Module):
    """Noise level to sines and cosines of learned frequencies: [b] to [b, TIME].

    Not counted among the published parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(TIME // 2))

    def forward(self, sigma: Tensor) -> Tensor:
        """[b] to [b, TIME]."""
        angle = 2 * math.pi * sigma[:, None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], -1)


class Dropout(nn.Module):
    """Dropout that draws for each row (`draw_rows`).

    On a GPU it draws there, because a CPU would take longer for it than the GPU for all the rest; so what is
    dropped differs between the two.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[b, ..] to [b, ..]; in evaluation as it is."""
        if not self.training:
            return x
        device = x.device if x.is_cuda and torch.cuda.is_available() else torch.device("cpu")
        return x * (draw_rows(x.shape, device) >= DROPOUT).to(x.device) / (1 - DROPOUT)


class Attention(nn.Module):
    """Residual self-attention over bins, one head: [b, d, l] to [b, d, l].

    The description puts dropout last: it acts on what is added, not on the attention weights.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.project = nn.Conv1d(width, width, 1)
        self.dropout = Dropout()

    def forward(self, x: Tensor) -> Tensor:
        """[b, d, l] to [b, d, l]."""
        # With an axis for the one head, because the exporter of ONNX supports no attention without heads.
        q, k, v = self.qkv(self.norm(x)).mT[:, None].chunk(3, -1)
        seen = functional.scaled_dot_product_attention(q, k, v)[:, 0]
        return x + self.dropout(self.project(seen.mT))


class Block(nn.Module):
    """Two convolutions that see noise level and condition, attention where asked for, feed-forward.

    Args:
        before: Channels that come in.
        after: Channels that go out, d.
        cond: Channels of the condition.
        attention: Whether there is any.
    """

    def __init__(self, before: int, after: int, cond: int, attention: bool = False) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(GROUPS, before), nn.SiLU(), nn.Conv1d(before, after, 3, padding=1)
        )
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(TIME, after))
        self.second = nn.Sequential(
            nn.GroupNorm(GROUPS, after), nn.SiLU(), nn.Conv1d(after, after, 3, padding=1)
        )
        self.shortcut = nn.Identity() if before == after else nn.Conv1d(before, after, 1)
        self.film = nn.Linear(TIME, 2 * after)
        self.cond = nn.Conv1d(cond, after, 1)
        self.attention = Attention(after) if attention else nn.Identity()
        self.feed = nn.Sequential(
            nn.GroupNorm(GROUPS, after),
            nn.Conv1d(after, 2 * after, 1),
            nn.GELU(),
            nn.Conv1d(2 * after, after, 1),
        )

    def forward(self, x: Tensor, time: Tensor, cond: Tensor) -> Tensor:
        """[b, before, l], [b, TIME] and [b, cond, l] to [b, d, l]."""
        y = self.second(self.first(x) + self.time(time)[..., None]) + self.shortcut(x)
        scale, shift = self.film(time)[..., None].chunk(2, 1)
        y = y * (1 + scale) + shift + self.cond(cond)
        y = self.attention(y)
        return y + self.feed(y)


class UnetDenoiser(Denoiser):
    """The published network behind the interface of all denoisers.

    Its condition is the piano roll of the block, its state the block before, as sampled; both are of
    one block only, so that it keeps no other state.

    Args:
        config: The base width, a multiple of 8.
        bands: k, bins of a frame; even.
        cond: Rows of the piano roll.

    Raises:
        UserError: the width cannot be split into groups.
    """

    def __init__(self, config: Unet, bands: int, cond: int) -> None:
        super().__init__()
        w = config.width
        if w < GROUPS or w % GROUPS:
            raise UserError(f"unet.width must be a multiple of {GROUPS}, not {w}")
        self.bands = bands
        self.fourier = LearnedFourier()
        self.time = nn.Sequential(nn.Linear(TIME, TIME), nn.SiLU(), nn.Linear(TIME, TIME))
        self.cond = nn.Conv1d(cond, w, 3, padding=1)
        self.input = nn.Conv1d(2 * FRAMES, w, 3, padding=1)
        self.down = nn.ModuleList(Block(i * w, 2 * i * w, w) for i in (1, 2, 4))
        self.shrink = nn.Conv1d(8 * w, 8 * w, 3, stride=2, padding=1)
        self.middle = Block(8 * w, 8 * w, w, attention=True)
        self.grow = nn.ConvTranspose1d(8 * w, 8 * w, 4, stride=2, padding=1)
        self.up = nn.ModuleList(Block(2 * i * w, i * w // 2, w) for i in (8, 4, 2))
        self.output = nn.Sequential(nn.GroupNorm(GROUPS, w), nn.SiLU(), nn.Conv1d(w, FRAMES, 3, padding=1))

    def initial_state(self, batch: int) -> State:
        """A silent block, [b, 1, f, k]."""
        return (self.input.weight.new_zeros(batch, 1, FRAMES, self.bands),)

    def encode(self, cond: Tensor, state: State) -> tuple[Tensor, State]:
        """Context of blocks: the block before and the embedded piano roll, as channels.

        Args:
            cond: Piano roll [b, t, rows, k].
            state: The block before each of these blocks, [b, t, f, k].

        Returns:
            Context [b, t, f + w, k], and the state as it was: it moves on by `feed_back`.
        """
        features = self.cond(cond.flatten(0, 1)).unflatten(0, cond.shape[:2])
        return torch.cat([state[0], features], 2), state

    def denoise(self, x_t: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        """Predicted v [b, t, f, k], see `Denoiser`; the context is [b, t, f + w, k]."""
        time = self.time(self.fourier(sigma.flatten()))
        previous, cond = context.flatten(0, 1).split([FRAMES, context.shape[2] - FRAMES], 1)
        x = self.input(torch.cat([previous, x_t.flatten(0, 1)], 1))
        return self._network(x, time, cond).unflatten(0, x_t.shape[:2])

    def feed_back(self, state: State, x: Tensor) -> State:  # noqa: ARG002
        """The last of the blocks, [b, 1, f, k]: all that the next one is told of the past."""
        return (x[:, -1:],)

    def _network(self, x: Tensor, time: Tensor, cond: Tensor) -> Tensor:
        """[b, w, k] to [b, f, k]."""
        skips = []
        for block in self.down:
            x = block(x, time, cond)
            skips.append(x)
        x = self.shrink(x)
        x = self.middle(x, time, functional.interpolate(cond, size=x.shape[-1], mode="linear"))
        x = self.grow(x)
        for block in self.up:
            x = block(torch.cat([x, skips.pop()], 1), time, cond)
        return self.output(x)
