"""How far apart two sounds are to the ear, roughly: levels in mel bands."""

import numpy as np

from diffsynth.evaluation.compiled import librosa
from diffsynth.evaluation.metrics import FFT, Array

BANDS = 128
LOWEST = 30.0  # Hz, the lower edge of the first band
RANGE = 1e-8  # 80 dB below the loudest band of the target, below which nothing counts


def log_mel_distance(target: Array, prediction: Array, rate: int) -> float:
    """Mean |difference| in dB over mel bands and frames; 0 is perfect.

    To all powers a floor is added, 80 dB below the loudest band of the target in any frame (of the
    prediction, if the target is silent).

    Args:
        target: magnitudes, [bins, frames], at FFT 2048.
        prediction: likewise.
        rate: sample rate in Hz.
    """
    powers = [_mel_powers(magnitudes, rate) for magnitudes in (target, prediction)]
    loudest = next((power.max() for power in powers if power.max() > 0.0), 1.0)
    levels = [10.0 * np.log10(power + RANGE * loudest) for power in powers]
    return float(np.abs(levels[0] - levels[1]).mean())


def _mel_powers(magnitudes: Array, rate: int) -> Array:
    """Powers in mel bands up to half the sample rate, [BANDS, frames], in double precision."""
    power = np.square(magnitudes, dtype=np.float64)
    return librosa.feature.melspectrogram(
        S=power, sr=rate, n_fft=FFT, n_mels=BANDS, fmin=LOWEST, fmax=rate / 2
    )
