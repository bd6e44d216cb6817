"""What sounds between the partials: the floor of the room, knocks of hammers, keys and pedals, reverberation.

Noise is described by its levels in bands alone. The level of band b at the end of a frame is

    L_b = floor_b + sum_i (weight_ib + pedal * weight'_ib) m_ib,

where `pedal` is 1 while the sustain pedal is down and soon 0 when it has risen, and m_ib is a memory of
events that fades by exp(-2 t / `DECAYS`), so that it also stands for the room's answer to knocks: of strikes
(as powers, which grow with velocity as the modes of the band do), of keys that are let go, of the sustain
pedal going down.
Modes do not drive noise: levels alone cannot tell a tone from noise, and noise would take its place.
`diffsynth.fitting.balance` measures it, `diffsynth.piano.noise_bank` plays it. docs/method.md, section 1.

Levels are mean squares: a sinusoid of amplitude a has the level a^2 / 2 in its band.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache

import numpy as np
from numpy.typing import NDArray

from diffsynth.errors import UserError

EVENTS = ("strike", "key up", "pedal")
DRIVES = ("strike",) * 4 + ("key up",) * 2 + ("pedal",) * 2
DECAYS = np.array([0.02, 0.1, 0.4, 1.5, 0.03, 0.2, 0.1, 0.4])
"""[i] what each memory follows, and the time in s in which its level falls by a factor of e squared."""
UNDER_PEDAL = DECAYS > 1.0
"""[i] memories that only the pedal holds: dampers end what lasts so long."""

Real = NDArray[np.float64]


def drive(strikes: Real, key_ups: Real, pedals: Real) -> Real:
    """[i, l, b] what drives the memories in l frames.

    Args:
        strikes: [l, b] power of the strikes within each frame, 1 for velocity 64, per second.
        key_ups: [l] keys that are let go within each frame, per second.
        pedals: [l] times that the sustain pedal goes down within each frame, per second.
    """
    of_kind = {
        "strike": strikes,
        "key up": np.broadcast_to(key_ups[:, None], strikes.shape),
        "pedal": np.broadcast_to(pedals[:, None], strikes.shape),
    }
    return np.stack([of_kind[kind] for kind in DRIVES])


def remember(drives: Real, memory: Real, seconds: float) -> tuple[Real, Real]:
    """[i, l, b] memories at the end of each of l frames of `seconds`, and [i, b] the last of them.

    Args:
        drives: [i, l, b] see `drive`.
        memory: [i, b] before the first frame.
        seconds: length of a frame.
    """
    own, older = _responses(drives.shape[1], seconds)
    after: Real = own @ drives + older[:, :, None] * memory[:, None]
    return after, after[:, -1]


@cache
def _responses(frames: int, seconds: float) -> tuple[Real, Real]:
    """[i, l, l] what a memory has of earlier frames' drives, and [i, l] of what it was before."""
    keep = np.exp(-2 * seconds / DECAYS)[:, None]
    age = np.arange(frames)[:, None] - np.arange(frames)
    own = np.where(age >= 0, keep[:, :, None] ** age.clip(0), 0.0) * (1 - keep[:, :, None])
    return own, keep ** np.arange(1, frames + 1)


@dataclass(frozen=True, eq=False)
class Noise:
    """Levels of noise in bands.

    Attributes:
        centre: [b] Hz, rising; none if there is no noise.
        floor: [b] level that never ends.
        weight: [2, i, b] level for each unit of each memory; the second as far as the pedal holds it.
        image: [c, b] factors of the amplitude in each of c channels, mean square 1 over the channels; [1, 1]
            if there is one. Noise of two channels is not coherent.
    """

    centre: Real
    floor: Real
    weight: Real
    image: Real = field(default_factory=lambda: np.ones((1, 1)))

    @property
    def channels(self) -> int:
        """Number of channels c."""
        return len(self.image)

    def tensors(self) -> dict[str, Real]:
        """Its arrays by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Real]) -> "Noise":
        """Inverse of `tensors`.

        Raises:
            UserError: an array is missing, does not fit the others, or holds values that noise cannot have.
        """
        try:
            given = {"image": np.ones((1, 1)), **tensors}  # older files lack it
            noise = Noise(**{entry.name: np.asarray(given[entry.name]) for entry in fields(Noise)})
        except KeyError as error:
            raise UserError(f"not noise of a piano: {error}") from error
        bands = noise.centre.size
        if noise.floor.shape != (bands,) or noise.weight.shape != (2, len(DRIVES), bands) or bands == 1:
            raise UserError("not noise of a piano: its arrays do not fit together")
        if noise.image.shape not in {(1, 1), (noise.channels, bands)}:
            raise UserError("not noise of a piano: its arrays do not fit together")
        if not all(np.isfinite(array).all() and (array >= 0).all() for array in vars(noise).values()):
            raise UserError("not noise of a piano: it holds values that are negative or not finite")
        if (np.diff(noise.centre) <= 0).any():
            raise UserError("not noise of a piano: its bands are not in order")
        return noise


SILENCE = Noise(np.zeros(0), np.zeros(0), np.zeros((2, len(DRIVES), 0)))
"""The noise of a piano that has none."""
