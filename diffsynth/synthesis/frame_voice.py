"""A voice of the published system: its network and the scale of its frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from diffsynth.audio.channels import converted
from diffsynth.midi.events import KEYS, Events
from diffsynth.models.parts.denoiser import Denoiser
from diffsynth.representation.piano_roll import StreamedRoll
from diffsynth.representation.stft_frames import FRAMES, Frames, FrameScale
from diffsynth.synthesis.player import Player
from diffsynth.synthesis.voice import Arrays, Voice, VoiceConfig, check_normaliser


@dataclass(frozen=True)
class FrameConfig(VoiceConfig):
    """What a voice of frames was built with."""

    def new_denoiser(self) -> Denoiser:
        """See `VoiceConfig`."""
        return self.network.new_denoiser(self.block // 2, KEYS)


@dataclass(frozen=True)
class FrameVoice(Voice):
    """A configuration and what was measured and trained for it."""

    Config: ClassVar[type[VoiceConfig]] = FrameConfig

    config: FrameConfig
    normaliser: FrameScale

    @classmethod
    def of(cls, config: Any, denoiser: Denoiser, arrays: Mapping[str, Arrays]) -> Self:
        """See `Voice`; the part is "normaliser"."""
        scale = FrameScale(**arrays["normaliser"])
        check_normaliser(arrays["normaliser"], (FRAMES, config.block // 2))
        return cls(config, denoiser, scale)

    def arrays(self) -> Arrays:
        """See `Voice`."""
        return {"normaliser.scale": self.normaliser.scale}

    def player(self) -> Player:
        """See `Voice`."""
        return FramePlayer(self.config.block, self.normaliser, self.config.audio.channels)

    def for_hosts(self) -> tuple[dict[str, Any], Arrays]:
        """The scale of the frames; the rest is a piano roll and an inverse STFT."""
        return {}, {"scale": self.normaliser.scale.astype("<f4")}


class FramePlayer(Player):
    """Events become a piano roll; frames become audio by inverse STFT.

    The published system has one channel: it learns the mean of all, and all hear the same.
    """

    def __init__(self, block: int, normaliser: FrameScale, channels: int = 1) -> None:
        self._channels = channels
        self._frames, self._normaliser = Frames(block), normaliser
        self._roll = StreamedRoll(block)
        self.shape = self._frames.shape
        self.condition_shape = KEYS, self.shape[1]

    def reset(self) -> None:
        """All keys and pedals up."""
        self._roll.reset()

    def state(self) -> dict[str, Any]:
        """A copy of everything that the next block depends on."""
        return self._roll.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state taken with `state`."""
        self._roll.restore(state)

    def condition(self, events: Events) -> NDArray[np.float32]:
        """The roll of the block, [keys, k]."""
        return self._roll.process(events)

    def audio(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Audio of the block, [block] or [block, c], from its normalised frames [f, k]."""
        frames = self._normaliser.inverse(torch.from_numpy(x))
        return converted(self._frames.rebuild(frames[None])[0].numpy(), self._channels)
