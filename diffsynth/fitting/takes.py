"""A take: one aligned performance as the fit sees it."""

from dataclasses import dataclass

from diffsynth.audio.files import Audio
from diffsynth.midi.events import Events


@dataclass(frozen=True)
class Take:
    """An aligned performance: audio [time] at `rate` Hz and events with `position`."""

    audio: Audio
    events: Events
    rate: int
