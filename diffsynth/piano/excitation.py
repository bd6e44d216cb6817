"""What the bank plays in one block, before gains."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffsynth.piano.sounding import Sounding


@dataclass(frozen=True)
class Strike:
    """A strike of one key within a block."""

    frame: int
    offset: int  # samples after the start of the frame
    key: int  # 0 to 87, or a movement of the pedal (`diffsynth.midi.dampers`)
    velocity: int
    modes: slice
    amplitude: NDArray[np.complex64]  # [modes of the key], the change of their older sound included


@dataclass(frozen=True)
class Rising:
    """What one frame lacks of a strike that still rises.

    Attributes:
        frame: within the block.
        offset: samples after the start of the frame where it begins.
        key: that was struck.
        modes: of the key.
        amplitude: [modes of the key] there.
    """

    frame: int
    offset: int
    key: int
    modes: slice
    amplitude: NDArray[np.complex64]


@dataclass(frozen=True)
class Excitation:
    """Modes and noise over one block of f frames; `Bank.play` makes audio of them and of gains.

    Attributes:
        sounding: the modes that sound; all others are silent.
        at_borders: [f + 1, q] amplitude of these at the frame borders, strikes before them included.
        reduced: [f, q] amplitude at the start of each frame, less what dampers take away during the frame.
        pedals: [f, 3] positions of `diffsynth.midi.events.PEDALS` at the end of each frame, 0 to 127.
        key_ups: [f] keys that are let go within each frame.
        strikes: onsets within the block.
        rising: what strikes lack that have not risen yet.
        noise: [f + 1, b] levels of the piano's noise at the frame borders.
        begin: samples since silence, of the start of the block.
        ages: [f + 1, n] samples since the last strike of each of the n keys of `sounding`, at the borders.
    """

    sounding: Sounding
    at_borders: NDArray[np.complex64]
    reduced: NDArray[np.complex64]
    pedals: NDArray[np.float32]
    key_ups: NDArray[np.int64]
    strikes: list[Strike]
    rising: list[Rising]
    noise: NDArray[np.float64]
    begin: int
    ages: NDArray[np.int64]

    @property
    def start(self) -> NDArray[np.complex64]:
        """[f, p] amplitude of all modes at the start of each frame."""
        return self.sounding.among_all(self.at_borders[:-1])

    @property
    def late(self) -> NDArray[np.complex64]:
        """[f, p] `reduced` of all modes."""
        return self.sounding.among_all(self.reduced)

    @property
    def end(self) -> NDArray[np.complex64]:
        """[f, p] amplitude of all modes at the end of each frame."""
        return self.sounding.among_all(self.at_borders[1:])
