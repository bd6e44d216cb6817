"""MIDI messages as they come from a keyboard, turned into what the engine understands."""

from collections.abc import Sequence

import mido

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

ALL_SOUND_OFF, RESET_CONTROLLERS = 120, 121
ALL_NOTES_OFF = range(123, 128)  # and changes of mode, which imply it
DRUMS = 9  # channel 10 as users count

Row = tuple[int, int, int]  # kind, number, value: see diffsynth.midi.events

KEYS_UP: list[Row] = [(NOTE_OFF, key, 0) for key in range(LOWEST_KEY, HIGHEST_KEY + 1)]
PEDALS_UP: list[Row] = [(CONTROL, pedal, 0) for pedal in PEDALS]


class Decoder:
    """Reads the messages of one port; remembers where the pedals are.

    All channels play the one piano, except that of the drums. What is not for a piano is ignored.
    """

    def __init__(self) -> None:
        self._pedals = dict.fromkeys(PEDALS, 0)

    def rows(self, message: Sequence[int]) -> list[Row]:
        """What a complete message, as bytes, asks for; nothing if it is damaged."""
        try:
            parsed = mido.Message.from_bytes(message)
        except (ValueError, TypeError, IndexError):
            return []
        if getattr(parsed, "channel", DRUMS) == DRUMS:
            return []
        if parsed.type == "note_on" and parsed.velocity:
            return [(NOTE_ON, parsed.note, parsed.velocity)]
        if parsed.type in ("note_on", "note_off"):
            return [(NOTE_OFF, parsed.note, 0)]
        if parsed.type == "control_change":
            return self._control(parsed.control, parsed.value)
        return []

    def _control(self, number: int, value: int) -> list[Row]:
        if number in self._pedals:
            self._pedals[number] = value
            return [(CONTROL, number, value)]
        if number in ALL_NOTES_OFF:
            return KEYS_UP
        if number == ALL_SOUND_OFF:
            # The pedals let go of everything, and then are where the feet hold them.
            feet = [(CONTROL, pedal, self._pedals[pedal]) for pedal in (SUSTAIN, SOSTENUTO)]
            return KEYS_UP + PEDALS_UP[:2] + feet
        if number == RESET_CONTROLLERS:
            self._pedals = dict.fromkeys(PEDALS, 0)
            return PEDALS_UP
        return []
