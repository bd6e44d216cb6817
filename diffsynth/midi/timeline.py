"""All messages of a MIDI file in the order in which they happen."""

from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

import mido

from diffsynth.midi.chunks import Chunks
from diffsynth.midi.messages import RESET_CONTROLLERS
from diffsynth.midi.tempo import TempoMap
from diffsynth.midi.tracks import Track


class Moment(NamedTuple):
    """A message, or the end of a track."""

    time: float  # s
    track: int
    message: mido.Message
    """None at the end of the track."""


def timeline(chunks: Chunks) -> list[Moment]:
    """Messages and ends of tracks by time; those of one tick in the order of the file.

    There is one tempo map, made of the changes in all tracks. Tracks of type 2 follow one another, each with
    a tempo map of its own, and let go of the pedals at their end.

    Raises:
        ValueError: ticks have no length.
    """
    if chunks.kind != 2:
        return list(_together(chunks.division, list(enumerate(chunks.tracks)), 0.0))
    moments: list[Moment] = []
    for index, track in enumerate(chunks.tracks):
        moments += _together(chunks.division, [(index, track)], moments[-1].time if moments else 0.0)
        for channel in sorted({message.channel for _, message in track.messages}):
            reset = mido.Message("control_change", control=RESET_CONTROLLERS, channel=channel)
            moments.append(Moment(moments[-1].time, index, reset))
    return moments


def _together(division: int, tracks: list[tuple[int, Track]], begin: float) -> Iterator[Moment]:
    changes = sorted((change for _, track in tracks for change in track.tempos), key=itemgetter(0))
    tempo = TempoMap(division, changes)
    merged = [
        (tick, index, message)
        for index, track in tracks
        for tick, message in [*track.messages, (track.end, None)]
    ]
    for tick, index, message in sorted(merged, key=itemgetter(0)):
        yield Moment(begin + tempo.seconds(tick), index, message)
