"""A take: one aligned performance as the fit sees it."""

from dataclasses import dataclass, replace

from diffsynth.audio.files import Audio
from diffsynth.midi.events import Events


@dataclass(frozen=True)
class Take:
    """An aligned performance: audio [time], or [time, c], at `rate` Hz and events with `position`."""

    audio: Audio
    events: Events
    rate: int

    @property
    def channels(self) -> int:
        """Number of channels c."""
        return 1 if self.audio.ndim == 1 else self.audio.shape[1]

    def channel(self, number: int) -> "Take":
        """One channel alone, audio [time]."""
        return self if self.audio.ndim == 1 else replace(self, audio=self.audio[:, number].copy())
