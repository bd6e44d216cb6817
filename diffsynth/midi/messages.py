"""What messages of MIDI say; the same for those of a file and of a keyboard."""

from functools import lru_cache

import mido

ALL_SOUND_OFF, RESET_CONTROLLERS = 120, 121
ALL_NOTES_OFF = range(123, 128)  # and changes of mode, which imply it
DRUMS = 9  # channel 10 as users count


@lru_cache(1 << 16)
def decode(message: bytes) -> mido.Message | None:
    """A complete message; None if it is none.

    Messages are shared: copy one to change it.
    """
    try:
        return mido.Message.from_bytes(message)
    except (ValueError, TypeError, IndexError):
        return None
