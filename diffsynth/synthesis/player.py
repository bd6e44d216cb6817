"""What stands around the network in a stream: events in front of it, audio behind it.

What is diffused depends on the model; the engine (`diffsynth.synthesis.synthesizer`) uses this interface.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.midi.events import Events


class Player(ABC):
    """Condition and audio of one block after another.

    Attributes:
        shape: f and k, of the data of one block.
        condition_shape: of its condition.
        rest: amplitude that samples of the last block have at most where only the room is heard.
    """

    shape: tuple[int, int]
    condition_shape: tuple[int, ...]
    rest: float = 0.0

    @abstractmethod
    def reset(self) -> None:
        """Silence, all keys and pedals up."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """A copy of everything that the next block depends on."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state taken with `state`."""

    @abstractmethod
    def condition(self, events: Events) -> NDArray[np.float32]:
        """What the network sees of the next block, without the axes of batch and blocks.

        Args:
            events: `SAMPLE_EVENT`s in order; a position outside the block is moved to its nearest sample.
        """

    @abstractmethod
    def audio(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Audio of the block whose condition was asked for last, from its data [f, k].

        [block] samples, or [block, c] if the voice has c > 1 channels.
        """
