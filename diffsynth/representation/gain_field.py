"""What is diffused, and how audio is rebuilt from it: log band gains of a modal excitation.

The excitation (`diffsynth.piano`) plays the right notes with the phases of strings. A gain field corrects
it: it says, at the end of every frame and in each of k bands, how far the recording is above or below the
excitation. This module defines the bands, the condition vector that the network sees, the gains that it
learns, and how gains act on modes. Replace it to diffuse something else. The equations are in
docs/method.md, section 2.

Levels are mean squares: a sinusoid of amplitude a has the level a^2 / 2 in its band.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from diffsynth.audio.band_levels import BandLevels
from diffsynth.audio.format import AudioFormat
from diffsynth.audio.mel_bands import centres_of, places_of, shares_of
from diffsynth.midi.events import KEYS, PEDALS
from diffsynth.piano.excitation import Excitation
from diffsynth.piano.piano import Piano
from diffsynth.piano.sounding import Sounding
from diffsynth.representation.config import Features

LOWEST_BAND = 40.0  # Hz, centre of the first band
MAX_GAIN = 2.3  # nepers (20 dB): further than that, excitation and recording do not belong together
MIN_SCALE = 0.05  # nepers: bands that never move must not turn rounding noise into large inputs
PROMINENCE = 0.5  # exponent of a band's share of the loudest level: bands count by their amplitude
AUDIBLE = 4.0  # powers of ten above the floor (40 dB), where a band counts fully


@dataclass(frozen=True)
class Normaliser:
    """Mean and scale of log gains in each band, [k], in nepers."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    def forward(self, gains: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gains in nepers to data of about unit variance."""
        return (gains - self.mean) / self.scale

    def inverse(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Data back to gains in nepers, limited to what gains may be."""
        return np.clip(x * self.scale + self.mean, -MAX_GAIN, MAX_GAIN)


@dataclass(frozen=True)
class Moments:
    """Weighted sums over frames, [k] each, that add up: what a normaliser is measured by.

    Attributes:
        weight: of all values.
        gains: of the gains, in nepers.
        squares: of their squares.
        distance: of the absolute values.
    """

    weight: NDArray[np.float64]
    gains: NDArray[np.float64]
    squares: NDArray[np.float64]
    distance: NDArray[np.float64]

    @staticmethod
    def of(gains: NDArray[np.floating], weight: NDArray[np.floating]) -> "Moments":
        """Of `gains` and their weights, [..., k]."""
        axes = tuple(range(gains.ndim - 1))
        x, w = gains.astype(np.float64), weight.astype(np.float64)
        return Moments(*(part.sum(axis=axes) for part in (w, w * x, w * x * x, w * np.abs(x))))

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def mean_db(self) -> float:
        """Mean absolute gain in dB."""
        return 20 / math.log(10) * float(self.distance.sum() / self.weight.sum())

    def normaliser(self) -> Normaliser:
        """Mean and standard deviation; the scale never falls below a floor."""
        total = self.weight + 1e-3
        mean = self.gains / total
        variance = (self.squares - 2 * mean * self.gains + mean**2 * self.weight) / total
        scale = np.sqrt(variance.clip(0)).clip(MIN_SCALE)
        return Normaliser(mean.astype(np.float32), scale.astype(np.float32))


class GainField:
    """Bands, conditions and gains for one piano at one audio format.

    Attributes:
        band: [p] lower one of the two bands that a mode lies in.
        share: [p] place of the mode between that band (0) and the next one (1).
        noise_band, noise_share: [b] the same for the bands of the piano's noise, none if it has none.
    """

    def __init__(self, piano: Piano, audio: AudioFormat, features: Features) -> None:
        self.audio, self.features = audio, features
        self.centres = band_centres(features)
        self._floor = 10.0 ** (features.floor / 10)
        self._band_levels = BandLevels(self.centres, audio.sample_rate, features.window, audio.frame)
        self.band, self.share = self._places(piano.frequency)
        self._shares_of_modes = csr_array(shares_of(piano.frequency, self.centres), dtype=np.float32)
        self.noise_band, self.noise_share = self._places(piano.noise.centre)
        self._shares_of_noise = shares_of(piano.noise.centre, self.centres)

    @staticmethod
    def width(features: Features) -> int:
        """Length c of the condition vector."""
        return features.bands + 2 * KEYS + len(PEDALS)

    def condition(self, excitation: Excitation) -> NDArray[np.float32]:
        """What the network sees of a block, [f, c].

        Per frame, as it ends: levels of the excitation in bands, noise included, and in keys (0 at the
        floor, 1 at 40 dB above it), velocities of the keys struck within it, pedal positions. It is made
        of the past and the present only.
        """
        ends, sounding = excitation.at_borders[1:], excitation.sounding
        power = 0.5 * (ends.real**2 + ends.imag**2)
        bands = self._levels_in_bands(power, sounding)
        bands += excitation.noise[1:] @ self._shares_of_noise.T
        keys, strikes = np.zeros((2, len(power), KEYS), dtype=np.float32)
        own = [key for key in sounding.keys if key < KEYS]
        keys[:, own] = sounding.sums(power)[:, : len(own)]
        for strike in excitation.strikes:
            if strike.key < KEYS:
                strikes[strike.frame, strike.key] = strike.velocity / 127
        levels = np.concatenate([bands, keys], axis=1, dtype=np.float32)
        return np.concatenate([self._above_floor(levels), strikes, excitation.pedals / 127], axis=1)

    def _levels_in_bands(self, power: NDArray[np.float32], sounding: Sounding) -> NDArray[np.float64]:
        """[l, k] levels in bands of modes that sound, [l, q]; each lies in two neighbouring bands."""
        if sounding.everything:  # faster by a matrix that is made once
            return np.stack([self._shares_of_modes @ frame for frame in power]).astype(np.float64)
        frames, bands = len(power), self.features.bands
        place = (sounding.of(self.band) + bands * np.arange(frames)[:, None]).ravel()
        levels = np.zeros(frames * bands)
        levels += np.bincount(place, power.ravel(), levels.size)
        upper = np.bincount(place, (power * sounding.of(self.share)).ravel(), levels.size)
        levels -= upper
        levels[1:] += upper[:-1]  # never of another frame: no mode lies above the last band
        return levels.reshape(frames, bands)

    def gains(
        self, recording: NDArray[np.float32], excitation: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Log gains in nepers that turn the excitation into the recording, and how much each counts.

        Args:
            recording: [time] samples.
            excitation: [time] samples, all gains at 1.

        Returns:
            Gains [l, k] at the end of each whole frame, and their weights in 0..1: bands near the
            floor cannot be heard and do not count, bands far below the loudest one count little.
        """
        wanted, given = self._band_levels(recording), self._band_levels(excitation)
        gains = 0.5 * np.log((wanted + self._floor) / (given + self._floor))
        level = np.maximum(wanted, given)
        loudest = level.max(axis=1, keepdims=True) + self._floor
        weight = self._above_floor(level).clip(0, 1) * (level / loudest) ** PROMINENCE
        return gains.clip(-MAX_GAIN, MAX_GAIN), weight

    def mode_gains(self, gains: NDArray[np.float32], sounding: Sounding | None = None) -> NDArray[np.float32]:
        """Linear gain of every mode, [.., p], or of those that sound, [.., q], from log gains, [.., k]."""
        if sounding is None:
            return _linear(gains, self.band, self.share)
        return _linear(gains, sounding.of(self.band), sounding.of(self.share))

    def noise_gains(self, gains: NDArray[np.float32]) -> NDArray[np.float32]:
        """Linear gain of the noise in each of its bands, [.., b], from log gains in bands, [.., k]."""
        return _linear(gains, self.noise_band, self.noise_share)

    def _places(self, frequency: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Lower one of the two bands that frequencies (Hz) lie in, and their places between the two."""
        place = places_of(frequency, self.centres)
        band = np.minimum(place.astype(np.intp), self.features.bands - 2)
        return band, (place - band).astype(np.float32)

    def _above_floor(self, level: NDArray[np.float32]) -> NDArray[np.float32]:
        """Level on a logarithmic scale: 0 at the floor, 1 at 40 dB above it."""
        return (np.log10(level / self._floor + 1) / AUDIBLE).astype(np.float32)


def band_centres(features: Features) -> NDArray[np.float64]:
    """Centre frequencies of the bands in Hz, equally spaced in mel."""
    return centres_of(features.bands, LOWEST_BAND, features.highest)


def _linear(
    gains: NDArray[np.float32], band: NDArray[np.intp], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Linear gains [.., n] at places between bands, from log gains in bands, [.., k]."""
    steps = np.diff(gains, axis=-1)
    own = np.take(steps, band, axis=-1, mode="clip")
    own *= share
    own += np.take(gains, band, axis=-1, mode="clip")
    return np.exp(own, out=own)
