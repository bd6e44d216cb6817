"""MIDI messages as they come from a keyboard, turned into what the engine understands.

They count as those of a file do (`diffsynth.midi.channels`). But nobody knows which channels will have notes,
so every pedal acts on all notes.
"""

from collections.abc import Sequence

from diffsynth.midi.events import (
    CONTROL,
    HIGHEST_KEY,
    LOWEST_KEY,
    NOTE_OFF,
    NOTE_ON,
    PEDALS,
    SOSTENUTO,
    SUSTAIN,
)
from diffsynth.midi.holds import Holds
from diffsynth.midi.messages import ALL_NOTES_OFF, ALL_SOUND_OFF, DRUMS, RESET_CONTROLLERS, decode

Row = tuple[int, int, int]  # kind, number, value: see diffsynth.midi.events

KEYS_UP: list[Row] = [(NOTE_OFF, key, 0) for key in range(LOWEST_KEY, HIGHEST_KEY + 1)]
PEDALS_UP: list[Row] = [(CONTROL, pedal, 0) for pedal in PEDALS]


class Decoder:
    """Reads the messages of one port; remembers which keys are held, and where the pedals are.

    All channels play the one piano, except that of the drums. What is not for a piano is ignored.
    """

    def __init__(self) -> None:
        self._holds = Holds()
        self._pedals: dict[int, dict[int, int]] = {pedal: {} for pedal in PEDALS}  # by channel

    def rows(self, message: Sequence[int]) -> list[Row]:
        """What a complete message, as bytes, asks for; nothing if it is damaged."""
        if not all(0 <= value < 256 for value in message):
            return []
        parsed = decode(bytes(message))
        if parsed is None or getattr(parsed, "channel", DRUMS) == DRUMS:
            return []
        if parsed.type == "note_on" and parsed.velocity:
            self._holds.strike(parsed.channel, parsed.note)
            return [(NOTE_ON, parsed.note, parsed.velocity)]
        if parsed.type in ("note_on", "note_off"):
            self._holds.release(parsed.channel, parsed.note)
            return [] if self._holds.held(parsed.note) else [(NOTE_OFF, parsed.note, 0)]
        if parsed.type == "control_change":
            return self._control(parsed.channel, parsed.control, parsed.value)
        return []

    def _control(self, channel: int, number: int, value: int) -> list[Row]:
        if number in self._pedals:
            self._pedals[number][channel] = value
            return [self._pedal(number)]
        if number in ALL_NOTES_OFF:
            return self._release(channel)
        if number == ALL_SOUND_OFF:
            # The pedals let go of everything, and then are where the feet hold them.
            return self._release(channel) + PEDALS_UP[:2] + [self._pedal(SUSTAIN), self._pedal(SOSTENUTO)]
        if number == RESET_CONTROLLERS:
            for positions in self._pedals.values():
                positions.pop(channel, None)
            return [self._pedal(pedal) for pedal in PEDALS]
        return []

    def _pedal(self, number: int) -> Row:
        """A pedal stands where it is furthest down on any channel."""
        return (CONTROL, number, max(self._pedals[number].values(), default=0))

    def _release(self, channel: int) -> list[Row]:
        """Every key goes up that no other channel holds."""
        self._holds.release_channel(channel)
        return [row for row in KEYS_UP if not self._holds.held(row[1])]
