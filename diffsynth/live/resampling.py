"""Changes the sample rate block by block, for devices that do not take the voice's.

soxr, which resamples files, would be late here: of blocks of 512 samples it makes bursts that need 20 ms more
in the ring. A polyphase filter of 32 samples gives every block as soon as it is there.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin

HALF = 16  # samples on each side of the filter, at the lower of the two rates
KAISER = 8.0  # 80 dB of rejection


class Resampler:
    """A polyphase low-pass filter with its memory; passes blocks on unchanged if the rates are equal.

    Args:
        rate: of the voice, Hz.
        target: of the device, Hz.
        block: samples in a block of the voice.
        channels: c, of the voice.

    Attributes:
        delay: of the filter, in samples of the voice.
        most: samples that a block may become; some have one less.
    """

    def __init__(self, rate: int, target: int, block: int, channels: int = 1) -> None:
        ratio = Fraction(target, rate)
        self._up, self._down = ratio.numerator, ratio.denominator
        self.delay = HALF * max(1, -(-self._down // self._up)) if ratio != 1 else 0
        self.most = -(-block * self._up // self._down)
        length, self._next = 2 * self.delay, 0  # place of the next output in a block, in 1 / up of a sample
        if ratio != 1:
            cutoff = 1 / max(self._up, self._down)
            taps = self._up * firwin(length * self._up + 1, cutoff, window=("kaiser", KAISER))
            # Row p makes what lies p / up after an input sample from the last ones, oldest first.
            self._phases = taps[:-1].reshape(length, self._up)[::-1].T.astype(np.float32)
            self._memory = np.zeros((length - 1, channels)[: 1 + (channels > 1)], dtype=np.float32)

    def __call__(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """What [n] or [n, c] samples of the voice become."""
        if not self.delay:
            return block
        samples = np.concatenate([self._memory, block])
        self._memory = samples[len(block) :]
        places = np.arange(self._next, len(block) * self._up, self._down)
        self._next += len(places) * self._down - len(block) * self._up
        index, phase = np.divmod(places, self._up)
        windows = np.lib.stride_tricks.sliding_window_view(samples, 2 * self.delay, axis=0)[index]
        found: NDArray[np.float32] = np.einsum("n...k,nk->n...", windows, self._phases[phase])
        return found
