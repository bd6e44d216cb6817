"""The low anchor of listening tests: a recording that anyone hears to be worse, to set the scale.

ITU-R BS.1534 (MUSHRA) has a low-pass at 3.5 kHz: flat within .1 dB up to there, 25 dB down at 4 kHz, 50 dB at
4.5 kHz. It is no other piano: pitches and onsets stay right, and only what lies above is lost.
"""

import numpy as np
from scipy.signal import firwin, kaiserord, oaconvolve

from diffsynth.evaluation.metrics import Array

LOW_PASS = "low_pass"  # its name among the renders of `bounds`
PASSED, STOPPED = 3500.0, 4000.0  # Hz
DOWN = 60.0  # dB


def low_pass(signal: Array, rate: int) -> Array:
    """A signal without what lies above 3.5 kHz, not shifted in time; float32, [time] or [time, c].

    At rates that hold nothing above 4 kHz it is the signal itself.
    """
    if rate / 2 <= STOPPED:
        return signal
    taps, beta = kaiserord(DOWN, (STOPPED - PASSED) / (rate / 2))
    kernel = firwin(taps | 1, (PASSED + STOPPED) / 2, window=("kaiser", beta), fs=rate)
    kernel = kernel.reshape(-1, *[1] * (signal.ndim - 1))
    filtered = oaconvolve(signal.astype(np.float64), kernel, mode="same", axes=0)
    return filtered[: len(signal)].astype(np.float32)
