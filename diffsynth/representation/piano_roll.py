"""The condition of the published network: the piano roll of the block to come.

A row for each of the 88 keys, a column for every two samples. A value is the velocity (over 127) of the
last strike while the damper is up, by finger or by pedal, and 0 otherwise.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.midi.dampers import Dampers
from diffsynth.midi.events import KEYS, Events

COLUMN = 2  # samples

Change = tuple[int, int, float]
"""Sample, row (a key from 0), and the value of that row from that sample on."""


def changes(dampers: Dampers, events: Events) -> list[Change]:
    """Changes of the roll by `SAMPLE_EVENT`s in order; updates the dampers."""
    return [
        (position, key, velocity / 127 if what == "strike" else 0.0)
        for position, what, key, velocity in dampers.actions(events)
    ]


def paint(standing: NDArray[np.float32], moves: Iterable[Change], columns: int) -> NDArray[np.float32]:
    """A roll [keys, columns] that begins with the values `standing`, [keys], and then changes, in order."""
    roll = np.repeat(standing[:, None], columns, axis=1)
    for position, key, value in moves:
        roll[key, position // COLUMN :] = value
    return roll


class StreamedRoll:
    """Rolls of one block after another."""

    def __init__(self, block: int) -> None:
        self.block = block
        self._dampers = Dampers()
        self.reset()

    def reset(self) -> None:
        """All keys and pedals up."""
        self._dampers.reset()
        self._standing = np.zeros(KEYS, dtype=np.float32)

    def state(self) -> dict[str, Any]:
        """A copy of everything that the next block depends on."""
        return {"standing": self._standing.copy(), "dampers": self._dampers.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state taken with `state`."""
        self._standing = state["standing"].copy()
        self._dampers.restore(state["dampers"])

    def process(self, events: Events) -> NDArray[np.float32]:
        """The roll of the next block, [keys, block / 2].

        `events` carry `position` in samples from the start of the block, in order; a position
        outside the block is moved to its nearest sample.
        """
        events = events.copy()
        events["position"] = events["position"].clip(0, self.block - 1)
        roll = paint(self._standing, changes(self._dampers, events), self.block // COLUMN)
        self._standing = roll[:, -1].copy()
        return roll


class RecordedRoll:
    """The roll of a whole recording; `window` gives any part of it.

    Args:
        events: `SAMPLE_EVENT`s in order; positions before 0 are history.
    """

    def __init__(self, events: Events) -> None:
        moves = changes(Dampers(), events)
        self._position = np.array([move[0] for move in moves], dtype=np.int64)
        self._key = np.array([move[1] for move in moves], dtype=np.int64)
        self._value = np.array([move[2] for move in moves], dtype=np.float32)

    def window(self, begin: int, length: int) -> NDArray[np.float32]:
        """The roll of `length` samples from sample `begin` on, [keys, length / 2]."""
        low, high = np.searchsorted(self._position, [begin, begin + length])
        standing = np.zeros(KEYS, dtype=np.float32)
        standing[self._key[:low]] = self._value[:low]  # of several values for one key, the last stays
        moves = zip(self._position[low:high] - begin, self._key[low:high], self._value[low:high], strict=True)
        return paint(standing, moves, length // COLUMN)
