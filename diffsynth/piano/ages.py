"""How long ago each key was struck, which decides between gains of its modes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffsynth.piano.excitation import Strike

NEVER = -(10**12)  # samples: a strike before all time
LEAST = 1e-3  # s; younger strikes are of one age


def ages_at_borders(
    keys: Sequence[int], struck: NDArray[np.int64], strikes: Sequence[Strike], frames: int, frame: int
) -> NDArray[np.int64]:
    """[f + 1, n] samples since the last strike of n keys, at the borders of f frames.

    Args:
        keys: n.
        struck: [sources] last strikes before the first frame, samples from its start.
        strikes: within the frames, in order.
        frames: f.
        frame: samples in one.
    """
    last = np.tile(struck[keys], (frames + 1, 1))
    column = {key: i for i, key in enumerate(keys)}
    for strike in strikes:
        if strike.key in column:
            last[strike.frame + 1 :, column[strike.key]] = strike.frame * frame + strike.offset
    return frame * np.arange(frames + 1)[:, None] - last


def shares_of_age(age: NDArray[np.floating], knots: Sequence[float]) -> NDArray[np.float32]:
    """[a, ..] shares of a gains at the ages `knots` (s) in a mode whose key was struck `age` s ago.

    Triangles over the logarithm of the age, as bands are over mel; they sum to 1.
    """
    place = np.interp(np.log(np.maximum(age, LEAST)), np.log(knots), np.arange(len(knots)))
    each = np.arange(len(knots)).reshape(-1, *[1] * place.ndim)
    return np.maximum(0.0, 1.0 - np.abs(place - each)).astype(np.float32)
