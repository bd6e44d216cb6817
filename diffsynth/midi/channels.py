"""Many channels, each with pedals of its own, played on one piano that has three pedals.

The damper of a key falls when no finger holds it and no pedal that acts on one of its notes does. A pedal
that acts on all notes is a pedal of the piano, and its moves stay events. Where channels differ, what they
have in common stays a pedal of the piano, which is down while it is down for every channel. A note that the
pedal of its own channel holds longer is released when its damper has to fall, as if a finger stayed on it.

Two pedals that act on the same notes count as the one that is further down.
"""

from diffsynth.midi.dampers import PEDAL_DOWN
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, PEDALS, SOSTENUTO, SUSTAIN
from diffsynth.midi.holds import Holds

Row = tuple[float, int, int, int]  # of `diffsynth.midi.events.EVENT`


class Channels:
    """Takes messages in order and makes events of them.

    Args:
        channels: on which notes are.
        sostenuto: whether every move of the sostenuto pedal acts on all notes, so that it can be the piano's.
    """

    def __init__(self, channels: set[int], sostenuto: bool) -> None:
        self._channels, self._sostenuto = sorted(channels), sostenuto
        self._rows: list[Row | None] = []
        self._holds = Holds()
        # By channel, which keys sound because of its notes, and which of those sostenuto has caught.
        self._ringing: dict[int, set[int]] = {channel: set() for channel in channels}
        self._caught: dict[int, set[int]] = {channel: set() for channel in channels}
        # By pedal, positions: of channels, for their own notes and for all.
        self._own: dict[int, dict[int, int]] = {pedal: {} for pedal in PEDALS}
        self._shared: dict[int, dict[int, int]] = {pedal: {} for pedal in PEDALS}
        # The piano that plays the events: its pedals, keys that its sostenuto has caught, keys that only its
        # pedals hold (with the place of their release), and keys that sound on as if under a finger.
        self._piano = dict.fromkeys(PEDALS, 0)
        self._piano_caught: set[int] = set()
        self._resting: dict[int, int] = {}
        self._prolonged: set[int] = set()

    @property
    def rows(self) -> list[Row]:
        """The events so far."""
        return [row for row in self._rows if row]

    def strike(self, time: float, channel: int, track: int, key: int, velocity: int) -> None:
        """A note begins."""
        self._holds.strike(channel, key, track)
        self._ringing[channel].add(key)
        self._resting.pop(key, None)
        self._prolonged.discard(key)
        self._rows.append((time, NOTE_ON, key, velocity))

    def release(self, time: float, channel: int, track: int, key: int) -> None:
        """A note ends, if there is one."""
        if channel in self._ringing and self._holds.release(channel, key, track):
            self._lift(time, [(channel, key)])

    def end_track(self, time: float, track: int) -> None:
        """What its notes still hold is released."""
        self._lift(time, self._holds.release_track(track))

    def notes_off(self, time: float, channel: int) -> None:
        """All notes of a channel end."""
        self._lift(time, [(channel, key) for key in self._holds.release_channel(channel)])

    def sound_off(self, time: float, channel: int) -> None:
        """All notes of a channel are silent, whatever its pedals hold; those stay where they are."""
        if channel not in self._ringing:
            return
        keys = set(self._ringing[channel])
        self._caught[channel].clear()
        self._ringing[channel].clear()
        self.notes_off(time, channel)
        if any(self._piano_holds(key) and not self._sounds(key) for key in keys):
            down, self._piano[SUSTAIN] = self._piano[SUSTAIN], 0
            self._rows.append((time, CONTROL, SUSTAIN, 0))
            self._settle(time)
            self._piano[SUSTAIN] = down
            self._rows.append((time, CONTROL, SUSTAIN, down))
        self._settle(time)

    def pedal(self, time: float, channel: int, number: int, value: int, shared: bool) -> None:
        """A pedal moves: for the notes of its channel, or for all."""
        if not shared and channel not in self._ringing:
            return
        affected = self._channels if shared else [channel]
        before = [self._position(number, at) >= PEDAL_DOWN for at in affected]
        (self._shared if shared else self._own)[number][channel] = value
        for at, was_down in zip(affected, before, strict=True):
            is_down = self._position(number, at) >= PEDAL_DOWN
            if number == SOSTENUTO and is_down != was_down:
                self._caught[at] = set(self._ringing[at]) if is_down else set()
            if was_down and not is_down:
                self._ringing[at] = {key for key in self._ringing[at] if self._rings(at, key)}
        self._move_piano(time, number, len(affected) == len(self._channels))
        self._settle(time)

    def reset(self, time: float, channel: int, shared: bool) -> None:
        """The pedals of a channel go up."""
        for number in PEDALS:
            if (self._shared if shared else self._own)[number].get(channel, 0):
                self.pedal(time, channel, number, 0, shared)

    def _position(self, number: int, channel: int) -> int:
        """Where a pedal stands for the notes of a channel."""
        return max(self._own[number].get(channel, 0), max(self._shared[number].values(), default=0))

    def _rings(self, channel: int, key: int) -> bool:
        """Whether a key that sounds because of a channel goes on to."""
        pedal = self._position(SUSTAIN, channel) >= PEDAL_DOWN
        return pedal or key in self._caught[channel] or self._holds.on_channel(channel, key)

    def _sounds(self, key: int) -> bool:
        return any(key in ringing for ringing in self._ringing.values())

    def _lift(self, time: float, places: list[tuple[int, int]]) -> None:
        """Fingers have left keys, each on a channel."""
        for channel, key in places:
            if not self._rings(channel, key):
                self._ringing[channel].discard(key)
        for key in dict.fromkeys(key for _, key in places):
            if self._holds.held(key):
                continue
            if self._piano_holds(key):
                self._resting[key] = len(self._rows)
            elif self._sounds(key):
                self._prolonged.add(key)
                continue
            self._rows.append((time, NOTE_OFF, key, 0))

    def _piano_holds(self, key: int) -> bool:
        return self._piano[SUSTAIN] >= PEDAL_DOWN or key in self._piano_caught

    def _move_piano(self, time: float, number: int, for_all: bool) -> None:
        """Move the pedal of the piano to where that of every channel is at least."""
        if number == SOSTENUTO and not self._sostenuto:
            return
        before = self._piano[number]
        self._piano[number] = after = min(self._position(number, channel) for channel in self._channels)
        if for_all or after != before:
            self._rows.append((time, CONTROL, number, after))
        if number == SOSTENUTO and (before >= PEDAL_DOWN) != (after >= PEDAL_DOWN):
            self._piano_caught = set().union(*self._ringing.values()) if after >= PEDAL_DOWN else set()

    def _settle(self, time: float) -> None:
        """Let the piano hold and damp what channels do."""
        for key in [key for key in self._resting if not self._piano_holds(key)]:
            place = self._resting.pop(key)
            if self._sounds(key):
                self._rows[place] = None
                self._prolonged.add(key)
        for key in [key for key in self._prolonged if not self._sounds(key)]:
            self._prolonged.discard(key)
            self._rows.append((time, NOTE_OFF, key, 0))
