"""The stereo image by levels: of every band, each channel hears as much beside the others as was recorded.

Least squares find the image of what repeats from strike to strike. High partials hardly do, the less so the
later a channel was fitted: their amplitudes come out too soft there. In each band the power of the channels,
shares of all, is that of the recordings afterwards; by at most `MOST`, and only where anything is heard.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

from diffsynth.audio.files import Audio
from diffsynth.audio.mel_bands import centres_of, places_of, shares_of
from diffsynth.fitting.takes import Take
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole

BANDS, LOWEST = 24, 40.0  # bands, and Hz, centre of the first
FRAME = 128  # samples
WINDOW = 0.128  # s
FAINT = 1e-8  # of the power of the loudest band: what is softer is not heard
MOST = 4.0  # factor of power
Real = NDArray[np.float64]


def place(piano: Piano, recordings: Sequence[Take], max_frequency: float) -> Piano:
    """The piano with channels as loud beside each other, band by band, as in the recordings.

    Args:
        piano: of c > 1 channels, complete with its noise.
        recordings: audio [time, c] of one sample rate, events where strikes sound.
        max_frequency: Hz, of the bands.
    """
    rate = recordings[0].rate
    centre = centres_of(BANDS, LOWEST, min(max_frequency, 0.45 * rate))
    recorded, played = (np.zeros((piano.channels, BANDS)) for _ in range(2))
    for take in recordings:
        recorded += _powers(take.audio, rate, centre)
        played += _powers(play_whole(piano, take.events, rate, FRAME, len(take.audio)), rate, centre)
    heard = [power.mean(axis=0) > FAINT * power.mean(axis=0).max() for power in (recorded, played)]
    known = heard[0] & heard[1]
    shares = [
        np.where(known, power, 1.0) / np.where(known, power, 1.0).mean(axis=0) for power in (recorded, played)
    ]
    factor = np.sqrt(np.clip(shares[0] / np.maximum(shares[1], 1e-9), 1 / MOST, MOST))
    return _scaled(piano, factor, centre)


def _powers(audio: Audio, rate: int, centre: Real) -> Real:
    """[c, b] energy of each channel in each band."""
    size = min(round(WINDOW * rate), len(audio))
    frequency, power = welch(audio.T.astype(np.float64), rate, nperseg=size)
    return np.asarray(power @ shares_of(frequency, centre).T * len(audio))


def _scaled(piano: Piano, factor: Real, centre: Real) -> Piano:
    """The piano with amplitudes of each channel and band times a factor, [c, b]."""

    def at(frequency: Real) -> Real:
        places = places_of(frequency, centre)
        return np.stack([np.interp(places, np.arange(len(centre)), row) for row in factor])

    image = piano.image * at(piano.frequency)
    size = np.sqrt((np.abs(image) ** 2).mean(axis=0))
    noise = piano.noise
    if len(noise.centre):
        of_noise = noise.image * at(noise.centre)
        power = (of_noise**2).mean(axis=0)
        noise = replace(
            noise, floor=noise.floor * power, weight=noise.weight * power, image=of_noise / np.sqrt(power)
        )
    return replace(piano, amplitude=piano.amplitude * size, image=image / size, noise=noise)
