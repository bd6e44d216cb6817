"""What the published network diffuses: real parts of the STFT frames of one block.

The transform has as many points as the block of N samples, a hop of N / 4 and a Hann window. It is centred,
with reflection at the ends, so 5 frames cover the block, and their inverse STFT gives it back without the
blocks around it: blocks do not overlap. There are k = N / 2 bins.

Three defects of the published system are kept. The imaginary part is thrown away, which mirrors every frame
in time about its centre: the result is half the block and half an echo that runs backwards. The bin at the
Nyquist frequency is dropped, so that bins can be halved and doubled. And nothing makes neighbouring blocks
fit where they meet.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FRAMES = 5  # f: of a block, centred, with a hop of a quarter block
# Full-scale sinusoids at this level (-80 dB) make the smallest scale: rounding to 16 bits lies far
# below, and bins that never sound must not turn it into large inputs.
MIN_LEVEL = 1e-4


class Frames:
    """The transform of blocks of `block` samples and its inverse."""

    def __init__(self, block: int) -> None:
        self.block, self.hop = block, block // (FRAMES - 1)
        self._window = torch.hann_window(block)

    @property
    def shape(self) -> tuple[int, int]:
        """Frames and bins of a block, f and k."""
        return FRAMES, self.block // 2

    def analyse(self, audio: Tensor) -> Tensor:
        """Blocks [b, block] of samples in about -1..1 to real parts [b, f, k]."""
        spectrum = torch.stft(
            audio,
            self.block,
            self.hop,
            window=self._window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        return spectrum.real[:, :-1].mT

    def rebuild(self, frames: Tensor) -> Tensor:
        """Real parts [b, f, k] to blocks [b, block]."""
        real = torch.nn.functional.pad(frames.mT, (0, 0, 0, 1))
        spectrum = torch.complex(real, torch.zeros_like(real))
        return torch.istft(
            spectrum, self.block, self.hop, window=self._window, center=True, length=self.block
        )


@dataclass(frozen=True)
class FrameScale:
    """Root mean square of every bin in every frame, [f, k]: what frames are divided by.

    How the published system normalises is not known. The mean is zero. Frames differ, because the
    first and the last are mirrored by the reflection and thus wholly real.
    """

    scale: NDArray[np.float32]

    @staticmethod
    def measure(batches: Iterable[Tensor], block: int) -> "FrameScale":
        """The scale of frames [b, f, k]; it never falls below a floor."""
        total, count = torch.zeros(FRAMES, block // 2, dtype=torch.float64), 0
        for frames in batches:
            total += frames.double().square().sum(0)
            count += len(frames)
        floor = MIN_LEVEL * block / 4  # of a Hann window, half the sum is the height of a line
        scale = (total / max(count, 1)).sqrt().clamp_min(floor)
        return FrameScale(scale.float().numpy())

    def forward(self, frames: Tensor) -> Tensor:
        """Frames to data of about unit variance."""
        return frames / torch.from_numpy(self.scale)

    def inverse(self, x: Tensor) -> Tensor:
        """Data back to frames."""
        return x * torch.from_numpy(self.scale)
