"""A voice of the published system: its network and the scale of its frames."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffsynth.config import AudioFormat, Unet
from diffsynth.midi.events import KEYS, Events
from diffsynth.models import Denoiser, build_denoiser
from diffsynth.representation.piano_roll import StreamedRoll
from diffsynth.representation.stft_frames import Frames, FrameScale
from diffsynth.synthesis.player import Player


@dataclass(frozen=True)
class FrameConfig:
    """What a voice of frames was built with; `network` is the section of its model."""

    model: str
    block: int
    audio: AudioFormat
    network: Unet

    def new_denoiser(self) -> Denoiser:
        """A network with fresh weights (torch's global seed decides them)."""
        return build_denoiser(self.network, self.block // 2, KEYS)


@dataclass(frozen=True)
class FrameVoice:
    """A configuration and what was measured and trained for it."""

    config: FrameConfig
    denoiser: Denoiser
    normaliser: FrameScale

    def player(self) -> Player:
        """What stands around the network in a stream."""
        return FramePlayer(self.config.block, self.normaliser)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All but the network, under the names that they have in a file."""
        return {"normaliser.scale": self.normaliser.scale}


class FramePlayer(Player):
    """Events become a piano roll; frames become audio by inverse STFT."""

    def __init__(self, block: int, normaliser: FrameScale) -> None:
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
        """Audio of the block, [block], from its normalised frames [f, k]."""
        frames = self._normaliser.inverse(torch.from_numpy(x))
        return self._frames.rebuild(frames[None])[0].numpy()
