"""A voice of gains: what the LSTM and S6 denoisers need around them to turn MIDI into audio."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from diffsynth.errors import UserError
from diffsynth.models.parts.denoiser import Denoiser
from diffsynth.piano.interference import BESIDE, NOTHING
from diffsynth.piano.modal_bank import SILENCE, Bank
from diffsynth.piano.noise import DECAYS, DRIVES, EVENTS
from diffsynth.piano.noise_bank import PEDAL_DECAY, NoiseDrives, make_loops
from diffsynth.piano.piano import REFERENCE_VELOCITY, Piano
from diffsynth.piano.rise import GONE
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import AUDIBLE, GainField
from diffsynth.representation.normaliser import MAX_GAIN, Normaliser
from diffsynth.synthesis.gain_player import GainPlayer
from diffsynth.synthesis.player import Player
from diffsynth.synthesis.voice import Arrays, Voice, VoiceConfig, check_normaliser


@dataclass(frozen=True)
class GainConfig(VoiceConfig):
    """What a voice of gains was built with. What it learned at one block size plays at all."""

    FOR_ALL_BLOCKS: ClassVar[bool] = True

    features: Features

    def __post_init__(self) -> None:
        hop = self.features.hop * self.audio.frame
        if self.block % hop:
            raise UserError(f"a block of {self.block} samples holds no whole number of hops of {hop}")

    @property
    def hops(self) -> int:
        """Gains in a block, one after another, f."""
        return self.block // (self.audio.frame * self.features.hop)

    def new_denoiser(self) -> Denoiser:
        """See `VoiceConfig`."""
        features = self.features
        width, ages = GainField.width(features), len(features.ages)
        return self.network.new_denoiser(features.values, width, ages, features.noise_bands)


@dataclass(frozen=True)
class GainVoice(Voice):
    """A voice of gains: a configuration and everything fitted or trained for it."""

    Config: ClassVar[type[VoiceConfig]] = GainConfig

    config: GainConfig
    piano: Piano
    normaliser: Normaliser

    @classmethod
    def of(cls, config: Any, denoiser: Denoiser, arrays: Mapping[str, Arrays]) -> Self:
        """See `Voice`; the parts are "piano" and "normaliser"."""
        piano, normaliser = Piano.from_tensors(arrays["piano"]), Normaliser(**arrays["normaliser"])
        check_normaliser(arrays["normaliser"], (config.features.values,))
        check_channels(piano, config)
        return cls(config, denoiser, piano, normaliser)

    def arrays(self) -> Arrays:
        """See `Voice`."""
        piano = {f"piano.{name}": array for name, array in self.piano.tensors().items()}
        return piano | {"normaliser.mean": self.normaliser.mean, "normaliser.scale": self.normaliser.scale}

    def field(self) -> GainField:
        """The gain field of this piano at this audio format."""
        return GainField(self.piano, self.config.audio, self.config.features)

    def player(self) -> Player:
        """See `Voice`."""
        bank = Bank(self.piano, self.config.audio.sample_rate, self.config.audio.frame)
        return GainPlayer(self.field(), bank, self.normaliser, self.config.hops)

    def for_hosts(self) -> tuple[dict[str, Any], Arrays]:
        """The modes of the piano, the bands they lie in, and the constants of their excitation."""
        piano, field = self.piano, self.field()
        numbers = {
            "frame": self.config.audio.frame,
            "bands": self.config.features.bands,
            "noise_bands": self.config.features.noise_bands,
            "hop": self.config.features.hop,
            "ages": self.config.features.ages,
            "floor_db": self.config.features.floor,
            "audible_decades": AUDIBLE,
            "max_gain": MAX_GAIN,
            "reference_velocity": REFERENCE_VELOCITY,
            "softest_velocity": piano.softest,
            "sampled": piano.sampled,
            "jitter": piano.jitter,
            "rise": piano.rise,
            "rises_for": GONE,
            "beside": BESIDE,
            "nothing": NOTHING,
            "silence": SILENCE,
        }
        arrays = {
            "key": piano.key.astype("<i2"),
            "frequency": piano.frequency.astype("<f8"),
            "decay": piano.decay.astype("<f8"),
            "amplitude_real": piano.amplitude.real.astype("<f4"),
            "amplitude_imaginary": piano.amplitude.imag.astype("<f4"),
            "image_real": piano.image.real.astype("<f4"),
            "image_imaginary": piano.image.imag.astype("<f4"),
            "release": piano.release.astype("<f8"),
            "exponent": piano.exponents.astype("<f8"),
            "mean": self.normaliser.mean.astype("<f4"),
            "scale": self.normaliser.scale.astype("<f4"),
            "band": field.band.astype("<i2"),
            "share": field.share.astype("<f4"),
        }
        return numbers, arrays | self._noise_for_hosts(field)

    def _noise_for_hosts(self, field: GainField) -> Arrays:
        """Levels of the piano's noise, the loops that sound, and the bands of gains that they lie in."""
        noise, rate, channels = self.piano.noise, self.config.audio.sample_rate, self.piano.channels
        loops = make_loops(noise.centre, rate, channels)
        drives = NoiseDrives(self.piano, noise.centre, self.config.audio.frame / rate)
        return {
            "noise_floor": noise.floor.astype("<f8"),
            "noise_image": np.broadcast_to(noise.image, (channels, len(noise.centre))).astype("<f8"),
            "noise_weight": noise.weight.astype("<f8"),
            "noise_exponent": drives.exponents.astype("<f8"),
            "noise_pedal_decay": np.array([PEDAL_DECAY]),
            "noise_decay": DECAYS.astype("<f8"),
            "noise_drive": np.array([EVENTS.index(kind) for kind in DRIVES], dtype="<i2"),
            "noise_length": np.array([len(loop) for loop in loops], dtype="<i4"),
            "noise_loop": np.concatenate([np.zeros(0), *loops]).astype("<f2"),
            "noise_band": field.noise_band.astype("<i2"),
            "noise_share": field.noise_share.astype("<f4"),
        }


def check_channels(piano: Piano, config: VoiceConfig) -> None:
    """Refuse a piano that has other channels than its voice.

    Raises:
        UserError: says how many both have.
    """
    wanted, given = config.audio.channels, piano.channels
    if wanted != given:
        raise UserError(f"audio.channels is {wanted}, the piano has {given}: run `diffsynth fit` again")
