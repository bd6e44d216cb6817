"""What is heard of gains, differentiably, so that a network can learn them by the sound.

Shapes: b sequences of l hops between l + 1 borders, k gains at each (those of modes by age, then those of
noise), p parts of the sound, f bins of a spectrum.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffsynth.audio.format import AudioFormat
from diffsynth.audio.mel_bands import shares_of
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import band_centres
from diffsynth.representation.normaliser import MAX_GAIN

LEAST = 1e-9  # power gain added under the root, whose slope at 0 is endless


class HeardSound(nn.Module):
    """Sound of modes and noise with gains, nearly as the engine's bank plays it.

    The bank gives every mode a gain of its own. Here spectra get gains, so that a step of training does not
    depend on the number of modes: with M_a and N the spectra of `features.window` samples of modes and noise
    around a border of hops, without a window function,

        Y(f) = sum_a M_a(f) exp(sum_j A_j(f) g_aj) + N(f) sqrt(sum_i T_i(f) exp(2 sum_j B_ji h_j)),

    g being the gains of modes in bands j, h those of noise, A and B the shares of their bands in frequencies
    and in the piano's bands i of noise, T the shares of the latter in frequencies. Between two borders the
    sound of one fades into that of the other along a straight line, as do the gains of the bank. Where noise
    shares the gains of modes, both are one part.

    Args:
        features: bands of the gains, and `window`, which holds two hops or more.
        noise_centre: Hz, of the bands of the piano's noise.
        audio: rate and frame.
    """

    of_modes: Tensor  # [bands, f], A
    of_noise: Tensor  # [noise_bands, i], B
    in_noise: Tensor  # [i, f], T
    fade: Tensor  # [2 hops], up to a border and down after it

    def __init__(self, features: Features, noise_centre: NDArray[np.float64], audio: AudioFormat) -> None:
        super().__init__()
        self.window, self.hop = features.window, features.hop * audio.frame
        self.bands, self.ages, self.apart = features.bands, len(features.ages), features.noise_bands > 0
        bins = np.arange(self.window // 2 + 1) * audio.sample_rate / self.window
        noise_bands = band_centres(features, features.noise_bands or features.bands)
        some = bool(len(noise_centre))
        tables = {
            "of_modes": shares_of(bins, band_centres(features), features.knee),
            "of_noise": shares_of(noise_centre, noise_bands, features.knee),
            "in_noise": shares_of(bins, noise_centre) if some else np.zeros((0, len(bins))),
            "fade": 1 - np.abs(np.arange(2 * self.hop) - self.hop) / self.hop,
        }
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table).float(), persistent=False)

    def forward(self, gains: Tensor, sounds: Tensor) -> Tensor:
        """Audio between the borders, [b, l hop].

        Args:
            gains: [b, l + 1, k] nepers at the borders.
            sounds: [b, p, l hop + window], from half a window before the first border on: modes by age, then
                noise.
        """
        gains = gains.clamp(-MAX_GAIN, MAX_GAIN)
        own = gains[..., : self.ages * self.bands].unflatten(-1, (self.ages, self.bands))
        factors = (own @ self.of_modes).exp()  # [b, l + 1, a, f]
        if self.apart:
            powers = (2 * (gains[..., self.ages * self.bands :] @ self.of_noise)).exp() @ self.in_noise
            factors = torch.cat([factors, (powers + LEAST).sqrt()[:, :, None]], 2)
        spectra = torch.fft.rfft(sounds.unfold(-1, self.window, self.hop)).transpose(1, 2)
        # Real and imaginary parts by themselves: gradients of complex products take several times as long.
        real, imaginary = ((part * factors).sum(2) for part in (spectra.real, spectra.imag))
        sound = torch.fft.irfft(torch.complex(real, imaginary), self.window)
        middle, hop = self.window // 2, self.hop
        sound = sound[..., middle - hop : middle + hop] * self.fade
        return (sound[:, :-1, hop:] + sound[:, 1:, :hop]).flatten(1)
