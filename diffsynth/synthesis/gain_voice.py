"""A voice of gains: what the LSTM and S6 denoisers need around them to turn MIDI into audio."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from diffsynth.config import S6, AudioFormat, Features, Lstm
from diffsynth.models import Denoiser, build_denoiser
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.piano import Piano
from diffsynth.representation.gain_field import GainField, Normaliser
from diffsynth.synthesis.gain_player import GainPlayer
from diffsynth.synthesis.player import Player


@dataclass(frozen=True)
class VoiceConfig:
    """What a voice of gains was built with; `network` is the section of its model."""

    model: str
    block: int
    audio: AudioFormat
    features: Features
    network: Lstm | S6

    @property
    def frames(self) -> int:
        """Frames in a block, f."""
        return self.block // self.audio.frame

    def new_denoiser(self) -> Denoiser:
        """A network with fresh weights (torch's global seed decides them)."""
        return build_denoiser(self.network, self.features.bands, GainField.width(self.features))


@dataclass(frozen=True)
class Voice:
    """A voice of gains: a configuration and everything that was fitted or trained for it."""

    config: VoiceConfig
    denoiser: Denoiser
    piano: Piano
    normaliser: Normaliser

    def field(self) -> GainField:
        """The gain field of this piano at this audio format."""
        return GainField(self.piano, self.config.audio, self.config.features)

    def player(self) -> Player:
        """What stands around the network in a stream."""
        bank = Bank(self.piano, self.config.audio.sample_rate, self.config.audio.frame)
        return GainPlayer(self.field(), bank, self.normaliser, self.config.frames)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All but the network, under the names that they have in a file."""
        piano = {f"piano.{name}": array for name, array in self.piano.tensors().items()}
        return piano | {"normaliser.mean": self.normaliser.mean, "normaliser.scale": self.normaliser.scale}
