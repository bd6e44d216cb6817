"""Raises the sample rate by a whole number, block by block, for devices that do not take the voice's."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin

HALF = 16  # samples of the voice on each side of the filter, which is the delay
KAISER = 8.0  # 80 dB of rejection


class Upsampler:
    """A polyphase low-pass filter with its memory; passes blocks on unchanged for a factor of 1.

    Args:
        factor: of the rates, 1 or more.
        block: samples in a block of the voice.
        channels: c, of the voice.
    """

    def __init__(self, factor: int, block: int, channels: int = 1) -> None:
        self.factor, self.block = factor, block
        self.delay = HALF if factor > 1 else 0  # samples of the voice
        self._phases: NDArray[np.float32] | None = None
        if factor > 1:
            taps = factor * firwin(2 * HALF * factor + 1, 1 / factor, window=("kaiser", KAISER))
            # Column p makes output p of every input sample from the 2 * HALF last ones, oldest first.
            self._phases = taps[:-1].reshape(2 * HALF, factor)[::-1].astype(np.float32)
        self._memory = np.zeros((2 * HALF - 1, channels)[: 1 + (channels > 1)], dtype=np.float32)

    def __call__(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next [block * factor] samples, or [block * factor, c], of [block] or [block, c]."""
        if self._phases is None:
            return block
        samples = np.concatenate([self._memory, block])
        self._memory = samples[len(block) :]
        windows = np.lib.stride_tricks.sliding_window_view(samples, 2 * HALF, axis=0)
        filtered = np.moveaxis(windows @ self._phases, -1, 1)
        return filtered.reshape(-1, *samples.shape[1:])
