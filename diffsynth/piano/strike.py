"""A strike of one key as the bank plays it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Strike:
    """A strike of one key within a block."""

    frame: int
    offset: int  # samples after the start of the frame
    key: int  # 0 to 87, or a movement of the pedal (`diffsynth.midi.dampers`)
    velocity: int
    modes: slice
    amplitude: NDArray[np.complex64]  # [modes of the key], the change of their older sound included
