"""What is diffused, and how audio is rebuilt from it: log band gains of a modal excitation.

The excitation (`diffsynth.piano`) plays the right notes with the phases of strings. A gain field corrects
it: it says, every `features.hop` frames and in each of its bands, how much louder or softer the modes are to
be, and likewise the noise, if it does not share their gains. This module defines the bands, the
condition vector that the network sees, and how gains act on modes; `diffsynth.representation.targets` the
gains that it learns. Replace it to diffuse something else. The equations are in docs/method.md, section 2.

Levels are mean squares: a sinusoid of amplitude a has the level a^2 / 2 in its band.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffsynth.audio.band_levels import BandLevels
from diffsynth.audio.channels import apart
from diffsynth.audio.format import AudioFormat
from diffsynth.audio.mel_bands import centres_of, places_of, shares_of
from diffsynth.midi.events import KEYS, PEDALS
from diffsynth.piano.ages import shares_of_age
from diffsynth.piano.excitation import Excitation
from diffsynth.piano.piano import Piano
from diffsynth.piano.sounding import Sounding
from diffsynth.representation.config import Features

LOWEST_BAND = 40.0  # Hz, centre of the first band
TINY = 1e-30  # level that is none
AUDIBLE = 4.0  # powers of ten above the floor (40 dB), where a band counts fully


class GainField:
    """Bands and conditions for one piano at one audio format, and how gains act on its modes and noise.

    Attributes:
        band: [p] lower one of the two bands that a mode lies in.
        share: [p] place of the mode between that band (0) and the next one (1).
        noise_band, noise_share: [b] the same for the bands of the piano's noise, none if it has none.
    """

    def __init__(self, piano: Piano, audio: AudioFormat, features: Features) -> None:
        self.audio, self.features = audio, features
        self.centres = band_centres(features)
        self._floor = 10.0 ** (features.floor / 10)
        hop = features.hop * audio.frame
        window, knee = features.window, features.knee
        self._band_levels = BandLevels(self.centres, audio.sample_rate, window, hop, knee)
        self.band, self.share, self._rest = _places(piano.frequency, self.centres, knee)
        noise_centres = band_centres(features, features.noise_bands or features.bands)
        self.noise_band, self.noise_share, _ = _places(piano.noise.centre, noise_centres, knee)
        self._shares_of_noise = shares_of(piano.noise.centre, noise_centres, knee)

    @staticmethod
    def width(features: Features) -> int:
        """Length c of the condition vector."""
        return features.bands + features.noise_bands + 2 * KEYS + len(PEDALS)

    def condition(self, excitation: Excitation) -> NDArray[np.float32]:
        """What the network sees of a block of f hops, [f, c].

        Per hop, as it ends: levels of the excitation in the bands of its gains and in keys (0 at the floor,
        1 at 40 dB above it), velocities of the keys struck within it, pedal positions. Where noise has no
        gains of its own, its level is part of that of the modes. All is made of the past and the present.
        """
        hop, sounding = self.features.hop, excitation.sounding
        last = excitation.at_borders[hop::hop]
        power = 0.5 * (last.real**2 + last.imag**2)
        modes = self._mean_levels(power, sounding)
        noise = excitation.noise[hop::hop] @ self._shares_of_noise.T
        bands = [modes, noise] if self.features.noise_bands else [modes + noise]
        keys, strikes = np.zeros((2, len(power), KEYS), dtype=np.float32)
        own = [key for key in sounding.keys if key < KEYS]
        keys[:, own] = sounding.sums(power)[:, : len(own)]
        for strike in excitation.strikes:
            if strike.key < KEYS:
                strikes[strike.frame // hop, strike.key] = strike.velocity / 127
        levels = np.concatenate([*bands, keys], axis=1, dtype=np.float32)
        pedals = excitation.pedals[hop - 1 :: hop] / 127
        return np.concatenate([self.above_floor(levels) / np.float32(AUDIBLE), strikes, pedals], axis=1)

    def _mean_levels(self, power: NDArray[np.float32], sounding: Sounding) -> NDArray[np.float64]:
        """[l, k] levels in bands of modes that sound, [l, q]; each lies in two neighbouring bands."""
        rows, bands = len(power), self.features.bands
        place = (sounding.of(self.band) + bands * np.arange(rows)[:, None]).ravel()
        levels = np.zeros(rows * bands)
        levels += np.bincount(place, (power * sounding.of(self._rest)).ravel(), levels.size)
        upper = np.bincount(place, (power * sounding.of(self.share)).ravel(), levels.size)
        levels[1:] += upper[:-1]  # never of another row: no mode lies above the last band
        return levels.reshape(rows, bands)

    def levels(self, recording: NDArray[np.float32], *sounds: NDArray[np.float32]) -> NDArray[np.float32]:
        """[f, 1 + n, b] of a recording and n sounds, in b bands at the end of each whole hop.

        In powers of ten above the floor. Sounds are [time], or [time, c]: then it is the mean of c channels.
        """
        each = [self.above_floor(self._levels_of(sound)) for sound in (recording, *sounds)]
        return np.stack(each, axis=1)

    def levels_by_age(
        self, recording: NDArray[np.float32], parts: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """`levels` of a recording, of modes by age, and of noise, which is the last of the parts.

        Modes that change their age are in two parts, which do not add up in power: each age gets its share of
        the level of all modes together.
        """
        *modes, noise = (self._levels_of(part) for part in parts)
        if len(modes) > 1:
            whole = self._levels_of(np.sum(parts[:-1], axis=0))
            share = whole / np.maximum(np.sum(modes, axis=0), TINY)
            modes = [share * own for own in modes]
        each = [self._levels_of(recording), *modes, noise]
        return np.stack([self.above_floor(level) for level in each], axis=1)

    def _levels_of(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """[f, b] mean levels of all channels of a sound."""
        of_channels = [self._band_levels(channel) for channel in apart(sound)]
        return sum(of_channels[1:], start=of_channels[0]) / np.float32(len(of_channels))

    def mode_gains(
        self, gains: NDArray[np.float32], excitation: Excitation | None = None
    ) -> NDArray[np.float32]:
        """Linear gains of modes at the borders of f frames: of all, [f + 1, p], or those that sound, [.., q].

        Gains of several ages are mixed by the time since the last strike of a mode's key.

        Args:
            gains: [f / hop + 1, k] log gains in nepers at the borders of hops.
            excitation: of the same frames, says which modes sound and how old they are; None: there is one
                age.
        """
        by_age = gains[:, : self.features.mode_values].reshape(len(gains), -1, self.features.bands)
        if excitation is None:
            return self._between(_linear(by_age[:, 0], self.band, self.share))
        sounding = excitation.sounding
        band, share = sounding.of(self.band), sounding.of(self.share)
        if len(self.features.ages) == 1:
            return self._between(_linear(by_age[:, 0], band, share))
        mixed = np.zeros((len(excitation.ages), len(band)), np.float32)
        for age, own in enumerate(self._ages_of_keys(excitation)):
            if own.any():
                linear = self._between(_linear(by_age[:, age], band, share))
                mixed += sounding.spread(own) * linear
        return mixed

    def age_shares(self, excitation: Excitation) -> list[NDArray[np.float32]]:
        """[f + 1, q] share of the gains of each age in the modes that sound; they sum to 1."""
        return [excitation.sounding.spread(own) for own in self._ages_of_keys(excitation)]

    def _ages_of_keys(self, excitation: Excitation) -> NDArray[np.float32]:
        """[a, f + 1, n] shares of ages in the keys that sound."""
        return shares_of_age(excitation.ages / self.audio.sample_rate, self.features.ages)

    def noise_gains(self, gains: NDArray[np.float32]) -> NDArray[np.float32]:
        """Linear gain of the noise in each of its bands, [f + 1, b]; see `mode_gains`."""
        own = gains[:, self.features.mode_values :] if self.features.noise_bands else gains
        return self._between(_linear(own, self.noise_band, self.noise_share))

    def _between(self, gains: NDArray[np.float32]) -> NDArray[np.float32]:
        """[f + 1, n] linear gains at the borders of frames: straight lines between those of hops."""
        hop = self.features.hop
        if hop == 1:
            return gains
        place = np.arange(hop, dtype=np.float32)[None, :, None] / hop
        inner = gains[:-1, None] + place * np.diff(gains, axis=0)[:, None]
        return np.concatenate([inner.reshape(hop * len(inner), gains.shape[1]), gains[-1:]])

    def above_floor(self, level: NDArray[np.float32]) -> NDArray[np.float32]:
        """Powers of ten by which levels, with the floor added to them, are above it."""
        return np.log10(level / self._floor + 1).astype(np.float32)


def band_centres(features: Features, bands: int | None = None) -> NDArray[np.float64]:
    """Centre frequencies in Hz of the bands of gains, or of so many bands over the same range."""
    return centres_of(bands or features.bands, LOWEST_BAND, features.highest, features.knee)


def spread_of_noise(features: Features) -> NDArray[np.float32]:
    """[b, n] shares of the n gains of noise in that of noise in each of the b bands of modes."""
    noise = band_centres(features, features.noise_bands)
    return shares_of(band_centres(features), noise, features.knee).T.astype(np.float32)


def _places(
    frequency: NDArray[np.float64], centres: NDArray[np.float64], knee: float
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """Lower one of the two bands that frequencies (Hz) lie in, places between the two, and 1 less these.

    The last for itself, because a small rest of 1 in single precision is noise.
    """
    place = places_of(frequency, centres, knee)
    band = np.minimum(place.astype(np.intp), len(centres) - 2)
    share = place - band
    return band, share.astype(np.float32), (1 - share).astype(np.float32)


def _linear(
    gains: NDArray[np.float32], band: NDArray[np.intp], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Linear gains [.., n] at places between bands, from log gains in bands, [.., k]."""
    steps = np.diff(gains, axis=-1)
    own = np.take(steps, band, axis=-1, mode="clip")
    own *= share
    own += np.take(gains, band, axis=-1, mode="clip")
    return np.exp(own, out=own)
