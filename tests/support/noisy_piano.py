"""Noise with a floor, knocks of strikes, keys and pedals, in few bands."""

from dataclasses import replace

import numpy as np

from diffsynth.audio.mel_bands import centres_of
from diffsynth.piano.noise import DRIVES, Noise

BANDS = 24


def make_noise(floor=1e-9, strike=1e-7, key_up=3e-8, pedal=1e-7, pedalled=5e-8, bands=BANDS, highest=10000.0):
    """Levels that are the same in all bands, in units of a second's memory."""
    of_kind = {"strike": strike, "key up": key_up, "pedal": pedal}
    plain = np.array([of_kind[kind] for kind in DRIVES])
    weight = np.stack([plain, np.where(np.array(DRIVES) == "strike", pedalled, 0.0)])
    return Noise(
        centres_of(bands, 40.0, highest),
        np.full(bands, floor),
        np.repeat(weight[:, :, None], bands, axis=2),
    )


def with_noise(piano, **levels):
    """The piano with such noise."""
    return replace(piano, noise=make_noise(**levels))
