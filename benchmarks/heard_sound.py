"""What is heard of band gains, differentiably, and how far it is from a recording.

Shapes: b sequences of l hops between l + 1 borders, k gains at each (those of modes by age, then those of
noise), a ages, f bins of a spectrum.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffsynth.audio.format import AudioFormat
from diffsynth.audio.mel_bands import shares_of
from diffsynth.evaluation.compiled import librosa
from diffsynth.evaluation.log_mel import BANDS, LOWEST, RANGE
from diffsynth.evaluation.metrics import FFT
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import band_centres
from diffsynth.representation.normaliser import MAX_GAIN

DB = 10.0 / math.log(10.0)  # dB in a neper of power
SIZES = (1024, 2048, 4096)  # samples, of spectra for the spectral convergence
QUIET = 0.05  # share of the frames of a recording that are its quietest
LEAST = 1e-9  # power gain added under the root, whose slope at 0 is endless


class HeardSound(nn.Module):
    """Sound of modes and noise with gains, nearly as the engine's bank plays it.

    The bank gives every mode a gain of its own. Here spectra get gains, so that a step of training does not
    depend on the number of modes: with M_a and N the spectra of `window` samples of modes and noise around a
    border of hops, without a window function,

        Y(f) = sum_a M_a(f) exp(sum_j A_j(f) g_aj) + N(f) sqrt(sum_i T_i(f) exp(2 sum_j B_ji h_j)),

    g being the gains of modes in bands j, h those of noise, A and B the shares of their bands in frequencies
    and in the piano's bands i of noise, T the shares of the latter in frequencies. Between two borders the
    sound of one fades into that of the other along a straight line, as do the gains of the bank.

    Args:
        features: bands of the gains, and `window`, which holds two hops or more.
        noise_centre: Hz, of the bands of the piano's noise.
        audio: rate and frame.
        ages: a.
    """

    of_modes: Tensor  # [bands, f], A
    of_noise: Tensor  # [noise_bands, i], B
    in_noise: Tensor  # [i, f], T
    fade: Tensor  # [2 hops], up to a border and down after it

    def __init__(
        self, features: Features, noise_centre: NDArray[np.float64], audio: AudioFormat, ages: int = 1
    ) -> None:
        super().__init__()
        self.window, self.hop = features.window, features.hop * audio.frame
        self.bands, self.ages = features.bands, ages
        bins = np.arange(self.window // 2 + 1) * audio.sample_rate / self.window
        noise_bands = band_centres(features, features.noise_bands)
        tables = {
            "of_modes": shares_of(bins, band_centres(features), features.knee),
            "of_noise": shares_of(noise_centre, noise_bands, features.knee),
            "in_noise": shares_of(bins, noise_centre),
            "fade": 1 - np.abs(np.arange(2 * self.hop) - self.hop) / self.hop,
        }
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table).float(), persistent=False)

    def forward(self, gains: Tensor, modes: Tensor, noise: Tensor) -> Tensor:
        """Audio between the borders, [b, l hop].

        Args:
            gains: [b, l + 1, k] nepers at the borders.
            modes: [b, a, l hop + window], from half a window before the first border on.
            noise: [b, l hop + window], likewise.
        """
        gains = gains.clamp(-MAX_GAIN, MAX_GAIN)
        own, other = gains.split([self.ages * self.bands, gains.shape[-1] - self.ages * self.bands], -1)
        of_modes = (own.unflatten(-1, (self.ages, self.bands)) @ self.of_modes).exp()
        of_noise = ((2 * (other @ self.of_noise)).exp() @ self.in_noise + LEAST).sqrt()
        m, n = self._spectra(modes).transpose(1, 2), self._spectra(noise)
        # Real and imaginary parts by themselves: gradients of complex products take several times as long.
        real = (m.real * of_modes).sum(2) + n.real * of_noise
        imaginary = (m.imag * of_modes).sum(2) + n.imag * of_noise
        sound = torch.fft.irfft(torch.complex(real, imaginary), self.window)
        middle, hop = self.window // 2, self.hop
        sound = sound[..., middle - hop : middle + hop] * self.fade
        return (sound[:, :-1, hop:] + sound[:, 1:, :hop]).flatten(1)

    def _spectra(self, sound: Tensor) -> Tensor:
        """[.., l + 1, f] around every border, of sound [.., l hop + window]."""
        return torch.fft.rfft(sound.unfold(-1, self.window, self.hop))


@dataclass(frozen=True)
class Figures:
    """How far a sound is from a recording, at the same level.

    Attributes:
        log_mel: mean |difference| in dB over mel bands, as in `diffsynth.evaluation.log_mel`.
        convergence: spectral convergence, mean over `SIZES`.
        floor: dB by which the sound is louder where the recording is quietest.
    """

    log_mel: float
    convergence: float
    floor: float


class Distance(nn.Module):
    """Distances between sounds at one sample rate in Hz; frames are those that lie wholly within them."""

    filters: Tensor  # [f, BANDS]

    def __init__(self, rate: int) -> None:
        super().__init__()
        bank = librosa.filters.mel(sr=rate, n_fft=FFT, n_mels=BANDS, fmin=LOWEST, fmax=rate / 2)
        self.register_buffer("filters", torch.from_numpy(bank.T.copy()).float(), persistent=False)

    def mel(self, sound: Tensor) -> Tensor:
        """Powers in mel bands, [b, frames, BANDS], of [b, time]."""
        return magnitudes(sound, FFT).square() @ self.filters

    def floor(self, recorded: Tensor) -> Tensor:
        """Power in a mel band of a recording, [time], below which nothing counts."""
        # Parts overlap by all but one step of the frames, so that no frame is left out.
        parts = recorded.split(4096 * FFT)
        parts = [torch.cat([a[-FFT:], b]) for a, b in zip((recorded[:0], *parts), parts, strict=False)]
        return RANGE * torch.stack([self.mel(part[None]).max() for part in parts if len(part) >= FFT]).max()

    def log_mel(self, heard: Tensor, recorded: Tensor, floor: Tensor) -> Tensor:
        """Mean |difference| in dB of sounds [b, time], with their floors, [b]."""
        levels = [(self.mel(sound) + floor[:, None, None]).log() for sound in (heard, recorded)]
        return DB * (levels[0] - levels[1]).abs().mean()

    def figures(self, heard: Tensor, recorded: Tensor) -> Figures:
        """Of a sound and a recording, [time]."""
        heard = heard * (recorded.square().mean() / heard.square().mean()).sqrt()
        a, b = heard[None], recorded[None]
        rms = [sound.unfold(0, FFT, FFT // 4).square().mean(-1).sqrt() + 1e-7 for sound in (heard, recorded)]
        quiet = rms[1] <= rms[1].quantile(QUIET)
        louder = 2 * DB * (rms[0][quiet].mean() / rms[1][quiet].mean()).log()
        log_mel = self.log_mel(a, b, self.floor(recorded)[None])
        return Figures(float(log_mel), float(spectral_convergence(a, b)), float(louder))


def magnitudes(sound: Tensor, size: int) -> Tensor:
    """[b, frames, f] of sounds [b, time], in Hann windows of `size` samples, a quarter of it apart."""
    frames = sound.unfold(-1, size, size // 4) * torch.hann_window(size, device=sound.device)
    spectrum = torch.fft.rfft(frames)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-12).sqrt()


def spectral_convergence(heard: Tensor, recorded: Tensor) -> Tensor:
    """Mean over `SIZES` and sounds [b, time] of |difference of magnitudes| / |magnitudes|."""
    each = []
    for size in SIZES:
        target = magnitudes(recorded, size)
        error = (magnitudes(heard, size) - target).square().sum((1, 2)).sqrt()
        each.append((error / target.square().sum((1, 2)).sqrt().clamp_min(1e-2)).mean())
    return torch.stack(each).mean()
