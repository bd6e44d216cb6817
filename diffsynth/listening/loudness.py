"""Integrated loudness by ITU-R BS.1770-4, at any sample rate."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from diffsynth.audio.files import Audio

WINDOW, HOP = 0.4, 0.1  # s, of the measured power
OFFSET = -0.691  # dB: a sine of 997 Hz at full scale is at -3.01 LUFS
SILENT, BELOW = -70.0, 10.0  # LUFS and LU: windows that do not count, absolutely and below the others
# The recommendation gives the filters as coefficients at 48 kHz. These are the analog shelf and high-pass
# that the bilinear transform turns into them (Hz, quality, dB).
SHELF_HERTZ, SHELF_QUALITY, SHELF_GAIN = 1681.974450955533, 0.7071752369554196, 3.999843853973347
SHELF_SLOPE = 0.4996667741545416  # exponent of the gain at the corner
HIGHPASS_HERTZ, HIGHPASS_QUALITY = 38.13547087602444, 0.5003270373238773


def integrated_loudness(samples: Audio, rate: int) -> float:
    """Loudness in LUFS of mono samples, [time], at `rate` Hz, at least `WINDOW` long; -inf if silent."""
    weighted = samples.astype(np.float64)
    for numerator, denominator in k_weighting(rate):
        weighted = lfilter(numerator, denominator, weighted)
    size, hop = round(WINDOW * rate), round(HOP * rate)
    total = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, len(samples) - size + 1, hop)
    power = np.maximum(total[starts + size] - total[starts], 0.0) / size
    loud = power[_lufs(power) > SILENT]
    if not len(loud):
        return -np.inf
    loud = loud[_lufs(loud) > _lufs(loud.mean()) - BELOW]
    return float(_lufs(loud.mean()))


def k_weighting(rate: int) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Coefficients, numerator and denominator, of the two filters at `rate` Hz."""
    k = np.tan(np.pi * SHELF_HERTZ / rate)
    high = 10 ** (SHELF_GAIN / 20)
    middle = high**SHELF_SLOPE
    damping = k / SHELF_QUALITY
    shelf = (
        np.array([high + middle * damping + k * k, 2 * (k * k - high), high - middle * damping + k * k]),
        _denominator(k, damping),
    )
    k = np.tan(np.pi * HIGHPASS_HERTZ / rate)
    highpass = np.array([1.0, -2.0, 1.0]), _denominator(k, k / HIGHPASS_QUALITY)
    scale = highpass[1][0]
    return [(shelf[0] / shelf[1][0], shelf[1] / shelf[1][0]), (highpass[0], highpass[1] / scale)]


def _denominator(k: float, damping: float) -> NDArray[np.float64]:
    return np.array([1 + damping + k * k, 2 * (k * k - 1), 1 - damping + k * k])


def _lufs(power: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return OFFSET + 10 * np.log10(np.maximum(power, 1e-30))
