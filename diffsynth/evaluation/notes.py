"""Whether the notes that were played are those that are heard: scores of a transcription.

A note sounds until its damper falls or its key is struck again, so the sustain pedal lengthens it, in what
was played and in what is heard alike: nobody hears whether a finger holds a note or a pedal.

Notes are matched one to one, as everywhere in the field (mir_eval; Hawthorne et al., "Onsets and frames",
2018): of one pitch, onsets within 50 ms; for the second score also offsets, within 50 ms or a fifth of the
note that was played; for the third also velocities, within a tenth of the range that was played, once the
line is known that brings those that are heard nearest to them.
"""

from dataclasses import dataclass

import mir_eval
import numpy as np
from numpy.typing import NDArray

SCORES = ("note_f1", "note_offset_f1", "note_velocity_f1")


@dataclass(frozen=True)
class Matched:
    """Which notes have a counterpart, those that were played and those that are heard in one list.

    Attributes:
        onset: [n] samples.
        right: [3, n] whether a note has one, for each of `SCORES`.
    """

    onset: NDArray[np.int64]
    right: NDArray[np.bool_]

    def part(self, begin: int, end: int) -> "Matched":
        """Notes that begin in samples `begin` to `end`."""
        within = (self.onset >= begin) & (self.onset < end)
        return Matched(self.onset[within] - begin, self.right[:, within])

    def f1(self, name: str) -> float:
        """One of `SCORES`: the share of the notes of both that have a counterpart; 1 if there are none."""
        right = self.right[SCORES.index(name)]
        return float(right.mean()) if len(right) else 1.0


def match_notes(played: NDArray[np.void], heard: NDArray[np.void], rate: int) -> Matched:
    """Match what was played with what is heard, both as `diffsynth.midi.strikes.soundings` has it.

    Args:
        played: rows of strikes.
        heard: likewise.
        rate: Hz, of their positions.
    """
    sides = (played, heard)
    right = [[np.zeros(len(side), dtype=bool) for side in sides] for _ in SCORES]
    if len(played) and len(heard):
        for found, flags in zip(_matchings(*(_Notes.of(side, rate) for side in sides)), right, strict=True):
            for first, second in found:
                flags[0][first] = flags[1][second] = True
    onset = np.concatenate([side["onset"] for side in sides])
    return Matched(onset, np.stack([np.concatenate(flags) for flags in right]))


@dataclass(frozen=True)
class _Notes:
    """Notes as mir_eval has them.

    Attributes:
        intervals: [n, 2] onsets and offsets, s.
        pitch: [n] Hz.
        velocity: [n].
    """

    intervals: NDArray[np.float64]
    pitch: NDArray[np.float64]
    velocity: NDArray[np.float64]

    @staticmethod
    def of(rows: NDArray[np.void], rate: int) -> "_Notes":
        """From rows of strikes; one that the next strike ends at once lasts a sample."""
        end = np.maximum(rows["end"], rows["onset"] + 1)
        intervals = np.stack([rows["onset"], end], axis=1) / rate
        pitch = 440.0 * 2.0 ** ((rows["key"] - 48) / 12)
        return _Notes(intervals, pitch, rows["velocity"].astype(np.float64))


def _matchings(played: _Notes, heard: _Notes) -> list[list[tuple[int, int]]]:
    """Pairs of matched notes for each of `SCORES`."""
    notes = (played.intervals, played.pitch, heard.intervals, heard.pitch)
    loud = (played.intervals, played.pitch, played.velocity, heard.intervals, heard.pitch, heard.velocity)
    return [
        mir_eval.transcription.match_notes(*notes, offset_ratio=None),
        mir_eval.transcription.match_notes(*notes),
        mir_eval.transcription_velocity.match_notes(*loud),
    ]
