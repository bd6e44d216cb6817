"""Levels of audio in bands."""

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

from diffsynth.audio.mel_bands import KNEE, shares_of


class BandLevels:
    """Mean square of audio in bands, frame by frame.

    Args:
        centres: [k] Hz, of the bands (`diffsynth.audio.mel_bands`).
        rate: samples per second.
        window: samples of the analysis.
        frame: samples from one level to the next.
        knee: Hz, of the bands.
    """

    def __init__(
        self, centres: NDArray[np.float64], rate: int, window: int, frame: int, knee: float = KNEE
    ) -> None:
        self._size, self._frame = window, frame
        bins = np.arange(window // 2 + 1) * rate / window
        self._shares = torch.from_numpy(shares_of(bins, centres, knee)).float()

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """[l, k] levels in windows centred on the end of each whole frame; a sinusoid a has a^2 / 2."""
        size, frame = self._size, self._frame
        frames = len(samples) // frame
        # The window of frame i is centred on sample (i + 1) * frame.
        padded = torch.nn.functional.pad(torch.from_numpy(samples), (size // 2 - frame, size))
        window = torch.hann_window(size)
        power = torchaudio.functional.spectrogram(
            padded, 0, window, size, frame, size, power=2.0, normalized=False, center=False
        )
        level = self._shares @ power[:, :frames] * (2 / (size * float(window.square().sum())))
        return level.T.numpy()
