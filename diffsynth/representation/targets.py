"""What is learned from levels: gains from the excitation to the recording, and what is heard of gains.

Levels are [.., parts, b]: of the recording and of the excitation in b bands, in powers of ten above the
floor (`GainField.levels`). If noise has gains of its own, n of them, the parts are: the recording, the modes
by age, and the noise; gains are then those of the modes, b for each age, and those of the noise.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffsynth.audio.format import AudioFormat
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import AUDIBLE, spread_of_noise
from diffsynth.representation.normaliser import MAX_GAIN

PROMINENCE = 0.5  # exponent of a band's share of the loudest level: bands count by their amplitude
DECIBEL = 10 / math.log(10)
Array = NDArray[np.float32]


class Targets:
    """Gains to be learned, and levels that gains lead to.

    Args:
        features: bands of the gains.
        audio: length of a frame.
    """

    def __init__(self, features: Features, audio: AudioFormat) -> None:
        self._noise_bands = features.noise_bands
        self._taps = torch.from_numpy(taps(features.window, features.hop * audio.frame))
        if features.noise_bands:
            self._spread = spread_of_noise(features)  # [b, n]
            self._means = (self._spread / self._spread.sum(axis=0)).T

    def __call__(self, levels: NDArray[np.floating]) -> tuple[Array, Array]:
        """Log gains in nepers, and how much each counts, 0 to 1, [.., k] both.

        No recording says which of two parts is too loud. Both are asked for the gain that the whole needs,
        and count by their share of it: where one stands alone, it is right. Bands near the floor cannot be
        heard and do not count, bands far below the loudest one count little.
        """
        powers = 10.0 ** levels.astype(np.float64) - 1
        wanted, parts = powers[..., 0, :], powers[..., 1:, :]
        given = parts.sum(axis=-2)
        gains = 0.5 * np.log((wanted + 1) / (given + 1)).clip(-2 * MAX_GAIN, 2 * MAX_GAIN)
        level = np.maximum(wanted, given)
        loudest = level.max(axis=-1, keepdims=True) + 1
        weight = (np.log10(level + 1) / AUDIBLE).clip(0, 1) * (level / loudest) ** PROMINENCE
        if self._noise_bands:
            shares = weight[..., None, :] * parts / given.clip(1e-9)[..., None, :]
            *of_modes, of_noise = np.moveaxis(shares, -2, 0)
            gains = np.concatenate([*[gains] * len(of_modes), gains @ self._means.T], axis=-1)
            weight = np.concatenate([*of_modes, of_noise @ self._means.T], axis=-1)
        return gains.astype(np.float32), weight.astype(np.float32)

    def heard(self, gains: Tensor, levels: Tensor) -> Tensor:
        """Levels in dB above the floor, [n, l, b], of the excitation with log gains in nepers, [n, l, k].

        The window of the levels, [n, l, parts, b], sees gains of several of the l hops. Powers of the parts
        add up: modes and noise do not interfere on average.
        """
        limited, bands = gains.clamp(-MAX_GAIN, MAX_GAIN), levels.shape[-1]
        own = limited[..., : limited.shape[-1] - self._noise_bands].unflatten(-1, (-1, bands))
        if self._noise_bands:
            noise = limited[..., -self._noise_bands :] @ torch.from_numpy(self._spread).to(gains).T
            own = torch.cat([own, noise[..., None, :]], dim=-2)
        powers = torch.exp(levels[..., 1:, :] / DECIBEL * 10) - 1
        return DECIBEL * torch.log((powers * self._in_window(torch.exp(2 * own))).sum(-2) + 1)

    def _in_window(self, power: Tensor) -> Tensor:
        """Power gains [n, l, ..] as the window sees them; beyond the first and the last hop as there."""
        reach = len(self._taps) // 2
        first, last = power[:, :1], power[:, -1:]
        padded = torch.cat([*[first] * reach, power, *[last] * reach], dim=1)
        seen = torch.zeros_like(power)
        for i, tap in enumerate(self._taps.tolist()):
            seen = seen + tap * padded[:, i : i + power.shape[1]]
        return seen


def taps(window: int, hop: int) -> Array:
    """Shares of the hops around it in what a Hann window of `window` samples sees, centred on a hop's end.

    An odd number that sums to one. Gains move linearly between the ends of hops.
    """
    time = (np.arange(1, window) - window / 2) / hop
    power = np.hanning(window + 1)[1:-1] ** 2
    reach = int(np.ceil(np.abs(time).max()))
    shares = np.maximum(0.0, 1.0 - np.abs(time - np.arange(-reach, reach + 1)[:, None])) @ power
    return (shares / shares.sum()).astype(np.float32)
