"""The product of amplitudes with a fixed table: one frame of every mode that sounds, and their sum."""

import numpy as np
from numpy.typing import NDArray

from diffsynth.piano.sounding import Sounding

FEW = 16  # rows of amplitudes up to which a table of a quarter of a frame is used four times


class Turns:
    """What modes of amplitude 1 are in a frame.

    Args:
        pole: [p] of the modes, per sample.
        frame: samples in a frame.

    Attributes:
        complex: [p, frame] powers of exp(pole).
    """

    def __init__(self, pole: NDArray[np.complex128], frame: int) -> None:
        self.complex = np.exp(pole[:, None] * np.arange(frame)).astype(np.complex64)
        # Rows of the table: Re z and -Im z of every mode in turn, in the order in which complex numbers lie
        # in memory, so that Re(a z) is one real product.
        self._table = np.stack([self.complex.real, -self.complex.imag], axis=1).reshape(-1, frame)
        short = frame // 4 if frame % 4 == 0 else frame
        self._short, self._turn = self._table[:, :short].copy(), np.exp(pole * short).astype(np.complex64)

    def sum(self, sounding: Sounding, rows: NDArray[np.complex64]) -> NDArray[np.float32]:
        """[l, frame] products of amplitudes, [l, q], and the table, run by run.

        If rows are few, reading the table takes longest: then its beginning serves for the rest as well.
        """
        frames, table, frame = len(rows), self._table, self._table.shape[1]
        if frames <= FEW:
            table, turn = self._short, sounding.of(self._turn)
            parts = [rows]
            while len(parts) < frame // table.shape[1]:
                parts.append(parts[-1] * turn)
            rows = np.concatenate(parts)
        numbers, size = rows.view(np.float32), table.shape[1]
        sums = np.zeros((len(rows), size), dtype=np.float32)
        for modes, places in sounding.runs:
            own = table[2 * modes.start : 2 * modes.stop]
            sums += numbers[:, 2 * places.start : 2 * places.stop] @ own
        return sums.reshape(-1, frames, size).transpose(1, 0, 2).reshape(frames, frame)
