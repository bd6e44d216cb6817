"""Which notes of a MIDI file a piano plays, and on which notes a pedal acts."""

from collections import Counter
from dataclasses import dataclass, field

import mido

from diffsynth.midi.events import HIGHEST_KEY, LOWEST_KEY
from diffsynth.midi.messages import DRUMS
from diffsynth.midi.timeline import Moment

PIANOS = range(8)  # General MIDI: pianos, electric pianos, harpsichord, clavinet


@dataclass
class Selection:
    """Facts about a whole file.

    Attributes:
        played: places in the timeline of the strikes that are played.
        channels: on which they are.
        sounding_channels: with notes of any kind.
        sounding_tracks: with notes of any kind.
        left_out: number of notes that are not played, by the reason.
    """

    played: set[int] = field(default_factory=set)
    channels: set[int] = field(default_factory=set)
    sounding_channels: set[int] = field(default_factory=set)
    sounding_tracks: set[int] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)

    def acts_on_all(self, moment: Moment) -> bool:
        """Whether a pedal acts on the notes of all channels and not only on those of its own."""
        channel = moment.message.channel
        return channel not in self.sounding_channels or moment.track not in self.sounding_tracks


def select(moments: list[Moment], programs: str) -> Selection:
    """Choose strikes to be played.

    Args:
        moments: a timeline.
        programs: "all" instruments but drums, or "piano" for those of the keyboard alone.
    """
    selection, program = Selection(), [0] * 16
    for place, moment in enumerate(moments):
        message = moment.message
        if message is None:
            continue
        if message.type == "program_change":
            program[message.channel] = message.program
        elif message.type == "note_on" and message.velocity:
            selection.sounding_channels.add(message.channel)
            selection.sounding_tracks.add(moment.track)
            reason = _reason(message, program[message.channel], programs)
            if reason:
                selection.left_out[reason] += 1
            else:
                selection.played.add(place)
                selection.channels.add(message.channel)
    return selection


def _reason(message: mido.Message, program: int, programs: str) -> str:
    """Why a note is left out; empty if it is not."""
    if message.channel == DRUMS:
        return "of drums"
    if programs == "piano" and program not in PIANOS:
        return "of other instruments"
    return "" if LOWEST_KEY <= message.note <= HIGHEST_KEY else "outside the keys of a piano"
