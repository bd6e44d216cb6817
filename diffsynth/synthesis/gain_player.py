"""Gains around the network: the bank of modes takes the events, gains act on the modes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.midi.events import Events
from diffsynth.piano.modal_bank import Bank
from diffsynth.representation.gain_field import GainField
from diffsynth.representation.normaliser import Normaliser
from diffsynth.synthesis.player import Player

CREST = 5.0  # highest sample of noise over its root mean square, in a second or so


class GainPlayer(Player):
    """The bank of a piano, and the gains that it plays with.

    Args:
        field: bands, conditions and gains of a piano at an audio format.
        bank: of the same piano.
        normaliser: of the gains.
        hops: in a block, f.
    """

    def __init__(self, field: GainField, bank: Bank, normaliser: Normaliser, hops: int) -> None:
        self._field, self._bank, self._normaliser = field, bank, normaliser
        self.shape = hops, field.features.values
        self.condition_shape = hops, field.width(field.features)
        self._frames = hops * field.features.hop
        self.reset()

    def reset(self) -> None:
        """Silence, all keys and pedals up."""
        self._bank.reset()
        self._gains = np.zeros((1, self.shape[1]), dtype=np.float32)
        self.rest = self._floor(np.float32(1.0))

    def state(self) -> dict[str, Any]:
        """A copy of everything that the next block depends on."""
        return {"bank": self._bank.state(), "gains": self._gains.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state taken with `state`."""
        self._bank.restore(state["bank"])
        self._gains = state["gains"].copy()

    def condition(self, events: Events) -> NDArray[np.float32]:
        """What the network sees of the next block, [f, c]."""
        self._excitation = self._bank.process(events, self._frames)
        return self._field.condition(self._excitation)

    def audio(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Audio [block], or [block, c], of the excitation with the gains that x [f, k] stands for."""
        gains = np.concatenate([self._gains, self._normaliser.inverse(x)])
        self._gains = gains[-1:]
        field, excitation = self._field, self._excitation
        of_modes = field.mode_gains(gains, excitation)
        of_noise = field.noise_gains(gains)
        self.rest = self._floor(of_noise)
        return self._bank.play(excitation, of_modes, of_noise)

    def _floor(self, gain: NDArray[np.float32] | np.float32) -> float:
        """Highest sample of the room alone, with gains [.., b] of its bands."""
        noise = self._bank.piano.noise
        powers = ((noise.floor * gain**2) @ (noise.image**2 * np.ones_like(noise.floor)).T).max(initial=0.0)
        return CREST * float(np.sqrt(powers))
