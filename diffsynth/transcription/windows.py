"""What Transkun hears in windows that overlap, put together: notes, and probabilities of onsets."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEAR = 0.05  # s around a note within which an onset is this note's
FAINT = 0.02  # lower probabilities in a frame count for nothing: there are thousands of them a second
EDGE = 4  # frames at the beginning of a window, where notes that sound already seem to begin


class Joined:
    """Notes of windows as one list, as Transkun's own `transcribe` joins them.

    A note of a window that overlaps the last one of its pitch replaces it if its onset is in the window, and
    otherwise makes it longer. Without an onset, and at last without an offset, there is no note.
    """

    def __init__(self) -> None:
        self._notes: dict[int, list[Any]] = defaultdict(list)

    def add(self, notes: Sequence[Any], begin: float) -> None:
        """Notes of the next window, by onset, with times from its beginning, which is at `begin` s."""
        for note in notes:
            note.start = max(note.start + begin, 0)
            note.end = max(note.end + begin, note.start)
        for note in notes:
            earlier = self._notes[note.pitch]
            if earlier and note.start < earlier[-1].end:
                if note.hasOnset:
                    earlier[-1] = note
                else:
                    earlier[-1].hasOffset = note.hasOffset
                    earlier[-1].end = max(note.end, earlier[-1].end)
            elif note.hasOnset:
                earlier.append(note)

    def finished(self) -> list[Any]:
        """All notes, by onset; those of one pitch do not overlap."""
        from transkun.Data import resolveOverlapping

        for notes in self._notes.values():
            if notes:
                notes[-1].hasOffset = True
        return list(resolveOverlapping([n for notes in self._notes.values() for n in notes if n.hasOffset]))


class Onsets:
    """Probabilities of onsets at all times; where windows overlap, their mean.

    Args:
        pitches: of the columns.
        frame: s from one frame to the next.
    """

    def __init__(self, pitches: Sequence[int], frame: float) -> None:
        self._column = {pitch: number for number, pitch in enumerate(pitches)}
        self._frame = frame
        self._sum = np.zeros((0, len(pitches)), np.float32)
        self._count = np.zeros((0, 1), np.float32)

    def add(self, window: NDArray[np.float32], begin: float) -> None:
        """The probabilities, [frame, pitch], of a window that begins at `begin` s; none are kept before 0."""
        window, first = window[EDGE:], round(begin / self._frame) + EDGE
        window, first = window[max(-first, 0) :], max(first, 0)
        missing = max(first + len(window) - len(self._sum), 0)
        self._sum = np.pad(self._sum, ((0, missing), (0, 0)))
        self._count = np.pad(self._count, ((0, missing), (0, 0)))
        self._sum[first : first + len(window)] += window
        self._count[first : first + len(window)] += 1

    def near(self, time: float, pitch: int) -> float:
        """Probability that a note of this pitch begins within 50 ms of a time in s."""
        return float(min(self._mean(self._around(time), self._column[pitch]).sum(), 1.0))

    def elsewhere(self, times: Sequence[float], pitches: Sequence[int]) -> float:
        """Number of onsets of notes to be expected away from those at some times in s of some pitches."""
        rest = self._mean(slice(None), slice(None))
        for time, pitch in zip(times, pitches, strict=True):
            rest[self._around(time), self._column[pitch]] = 0
        notes = [column for pitch, column in self._column.items() if pitch > 0]
        return float(rest[:, notes][rest[:, notes] > FAINT].sum())

    def _around(self, time: float) -> slice:
        """The frames within 50 ms of a time in s."""
        middle, reach = round(time / self._frame), round(NEAR / self._frame)
        return slice(max(middle - reach, 0), middle + reach + 1)

    def _mean(self, rows: slice, columns: int | slice) -> NDArray[np.floating]:
        count = np.maximum(self._count[rows], 1)
        found = self._sum[rows, columns]
        return found / (count if found.ndim == 2 else count[:, 0])
