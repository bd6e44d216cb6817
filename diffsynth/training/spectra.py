"""How far sounds are from recordings, by spectra, as a loss."""

import math

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from diffsynth.errors import UserError
from diffsynth.representation.heard_sound import HeardSound

DB = 10.0 / math.log(10.0)  # dB in a neper of power
SIZE, BANDS, LOWEST = 2048, 128, 30.0  # of the mel spectra: samples, bands, Hz
SIZES = (1024, 2048, 4096)  # samples, of spectra for the spectral convergence
RANGE = -80.0  # dB, of a band below a sinusoid at full scale, under which nothing counts
ROWS = 8  # sequences at a time, which bounds the memory


class SpectralDistance(nn.Module):
    """Distances between sounds and recordings [b, time] over those frames that count.

    The mean absolute difference of mel bands in dB, as `diffsynth.evaluation.log_mel` has it but for a fixed
    floor, plus the mean over those `SIZES` that fit of the spectral convergence: the norm of the difference
    of magnitudes over that of the recording (Arik et al. 2018, "Fast Spectrogram Inversion using Multi-head
    Convolutional Neural Networks", section 3).

    Args:
        rate: Hz.
    """

    filters: Tensor  # [f, BANDS]

    def __init__(self, rate: int) -> None:
        super().__init__()
        bank = melscale_fbanks(SIZE // 2 + 1, LOWEST, rate / 2, BANDS, rate, "slaney", "slaney")
        self.register_buffer("filters", bank, persistent=False)
        self._floor = 10 ** (RANGE / 10) * float(bank.max()) * (SIZE / 4) ** 2

    def forward(self, heard: Tensor, recorded: Tensor, counts: Tensor) -> Tensor:
        """[b] distances.

        Args:
            heard: [b, time].
            recorded: [b, time].
            counts: [b, time] 1 where it counts, which is one stretch, and 0 elsewhere.
        """
        distance = heard.new_zeros(len(heard))
        sizes = [size for size in SIZES if size <= heard.shape[1]]
        for size in sizes:
            spectra = magnitudes(heard, size), magnitudes(recorded, size)
            weight = counts[:, : counts.shape[1] - size + 1 : size // 4] * counts[:, size - 1 :: size // 4]
            distance = distance + self._convergence(*spectra, weight) / len(sizes)
            if size == SIZE:
                distance = distance + self._log_mel(*spectra, weight)
        return distance

    def _log_mel(self, heard: Tensor, recorded: Tensor, weight: Tensor) -> Tensor:
        levels = [(sound.square() @ self.filters + self._floor).log() for sound in (heard, recorded)]
        error = DB * (levels[0] - levels[1]).abs().mean(-1)
        return (weight * error).sum(1) / weight.sum(1).clamp_min(1.0)

    @staticmethod
    def _convergence(heard: Tensor, recorded: Tensor, weight: Tensor) -> Tensor:
        error, target = (
            (weight[..., None] * each.square()).sum((1, 2)) for each in (heard - recorded, recorded)
        )
        return (error + 1e-9).sqrt() / target.sqrt().clamp_min(1e-2)


def magnitudes(sound: Tensor, size: int) -> Tensor:
    """[b, frames, f] of sounds [b, time], in Hann windows of `size` samples, a quarter of it apart."""
    frames = sound.unfold(-1, size, size // 4) * torch.hann_window(size, device=sound.device)
    spectrum = torch.fft.rfft(frames)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-12).sqrt()


class GainSpectra(nn.Module):
    """Distance of what is heard of gains from a recording.

    Args:
        heard: makes sound of gains.
        rate: Hz.
        channels: c, of the sounds; all have the same gains.
    """

    def __init__(self, heard: HeardSound, rate: int, channels: int = 1) -> None:
        super().__init__()
        self.heard, self.distance, self.channels = heard, SpectralDistance(rate), channels

    @property
    def margin(self) -> int:
        """Hops of sound that are needed before and after those of the gains."""
        return -(-self.heard.window // (2 * self.heard.hop))

    def check(self, hops: int) -> None:
        """Raise a UserError if so many hops, or windows beside hops, are too short to be measured."""
        if self.heard.window < 2 * self.heard.hop:
            raise UserError("features.window must hold two hops of gains for diffusion.objective spectra")
        if hops * self.heard.hop < SIZE:
            raise UserError(f"train.sequence, without train.warmup, must hold {SIZE} samples for spectra")

    def forward(self, gains: Tensor, sounds: Tensor, learned: Tensor) -> Tensor:
        """[b] distances, in dB and shares added up.

        Args:
            gains: [b, l, k] nepers at the ends of hops; the first hop begins with what it ends with.
            sounds: [b, l + 2 margin, (1 + p) c, hop]: the channels of the recording, then those of each part.
            learned: [b, l] 1 where it counts, which is one stretch, and 0 elsewhere.
        """
        rows = (each.split(ROWS) for each in (gains, sounds, learned))
        return torch.cat([self._some(*part) for part in zip(*rows, strict=True)])

    def _some(self, gains: Tensor, sounds: Tensor, learned: Tensor) -> Tensor:
        hop, before, count = self.heard.hop, self.margin * self.heard.hop, self.channels
        # Every channel is a sequence of its own.
        gains, learned = (each.repeat_interleave(count, 0) for each in (gains, learned))
        flat = sounds.transpose(1, 2).unflatten(1, (-1, count)).transpose(1, 2).flatten(0, 1).flatten(2)
        begin, length = before - self.heard.window // 2, gains.shape[1] * hop
        parts = flat[:, 1:, begin : begin + length + self.heard.window]
        heard = self.heard(torch.cat([gains[:, :1], gains], 1), parts)
        recorded, counts = flat[:, 0, before : before + length], learned.repeat_interleave(hop, 1)
        distance: Tensor = self.distance(heard, recorded, counts)
        return distance.unflatten(0, (-1, count)).mean(1)
