"""One track of a MIDI file: from its bytes to messages, as far as they make sense.

A damaged track is read up to the damage. What follows it would be wrong notes more often than right ones.
"""

from dataclasses import dataclass, field

import mido

from diffsynth.midi.messages import decode

# Bytes after the status of a message, by its first digit or by all of it.
CHANNEL_DATA = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
SYSTEM_DATA = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
USEFUL = (0x8, 0x9, 0xB, 0xC)  # notes, controllers, programs
SYSEX, ESCAPE, META = 0xF0, 0xF7, 0xFF
END_OF_TRACK, SET_TEMPO = 0x2F, 0x51
HIGHEST = 127  # what a value over it counts as
LONGEST_QUANTITY = 4  # bytes (Standard MIDI Files 1.0)
CUT, DAMAGED = "is cut short", "is damaged, and its rest left out"
GOES_ON = "goes on after its end, which is left out"


@dataclass
class Track:
    """Messages of one track, at ticks from its beginning.

    Attributes:
        messages: of notes, controllers and programs.
        tempos: microseconds for a quarter note.
        end: tick at which the track ends.
        stop: position of the first byte that was not read.
        ended: whether its end is marked.
        problem: why its rest could not be read, if so.
    """

    messages: list[tuple[int, mido.Message]] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    end: int = 0
    stop: int = 0
    ended: bool = False
    problem: str = ""


class _DamageError(Exception):
    """Bytes that make no sense, or an end within a message."""


class _Bytes:
    """Bytes that are taken one after the other, up to a border."""

    def __init__(self, data: bytes, position: int, border: int) -> None:
        self.data, self.position, self.border = data, position, border

    def take(self, count: int) -> bytes:
        """The next bytes."""
        begin, self.position = self.position, self.position + count
        if self.position > self.border:
            raise _DamageError(CUT)
        return self.data[begin : self.position]

    def quantity(self) -> int:
        """A number of variable length."""
        value = 0
        for _ in range(LONGEST_QUANTITY):
            (byte,) = self.take(1)
            value = value << 7 | byte & 127
            if byte < 128:
                return value
        raise _DamageError(DAMAGED)


def parse_track(data: bytes, position: int, border: int) -> Track:
    """Read a track from a position in a file to its end, at most to a border.

    A status goes on running over meta and system exclusive messages, as files need it.
    """
    track, source = Track(), _Bytes(data, position, border)
    status = 0
    try:
        while source.position < border and not track.ended:
            track.stop = source.position
            tick = track.end + source.quantity()
            (byte,) = source.take(1)
            if byte < 128:
                source.position -= 1
            elif byte < SYSEX:
                status = byte
            if byte < SYSEX:
                _channel_message(track, source, status, tick)
            else:
                _system_message(track, source, byte, tick)
            track.end = tick
        track.stop = source.position
    except _DamageError as damage:
        track.problem = str(damage)
    return track


def _channel_message(track: Track, source: _Bytes, status: int, tick: int) -> None:
    if not status:
        raise _DamageError(DAMAGED)
    values = source.take(CHANNEL_DATA[status >> 4])
    if max(values) > HIGHEST:
        values = bytes(min(value, HIGHEST) for value in values)
    if status >> 4 in USEFUL and (decoded := decode(bytes([status]) + values)):
        track.messages.append((tick, decoded))


def _system_message(track: Track, source: _Bytes, status: int, tick: int) -> None:
    if status == META:
        (kind,) = source.take(1)
        content = source.take(source.quantity())
        track.ended = kind == END_OF_TRACK
        if kind == SET_TEMPO and len(content) >= 3 and any(content[:3]):
            track.tempos.append((tick, int.from_bytes(content[:3], "big")))
    elif status in (SYSEX, ESCAPE):
        source.take(source.quantity())
    elif status in SYSTEM_DATA:
        source.take(SYSTEM_DATA[status])
    else:
        raise _DamageError(DAMAGED)
