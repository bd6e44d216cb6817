"""Dampers: turns note and pedal events into strikes and damper falls of keys.

In a sampled instrument every strike is a voice of its own, and there is one more action: a voice that only a
pedal holds ends when the pedal rises, even if a finger holds a later strike of the same key. A real string
has one damper and rings on. Where movements of the sustain pedal can be heard, they count as strikes.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from diffsynth.midi.events import (
    CONTROL,
    HIGHEST_KEY,
    KEYS,
    LOWEST_KEY,
    NOTE_ON,
    SOSTENUTO,
    SUSTAIN,
    UNA_CORDA,
    Events,
)

PEDAL_DOWN = 64  # controller values from here on count as down (MIDI 1.0, switch controllers)
PEDAL_FALLS, PEDAL_RISES = KEYS, KEYS + 1  # sources after the keys: the sustain pedal, down and up
SOURCES = KEYS + 2
PEDAL_VELOCITY = 64  # of both, whatever the pedal's speed
What = Literal["strike", "damp", "renew"]
Action = tuple[int, What, int, int]


class Dampers:
    """Which keys are held down, and by finger or by pedal.

    Any stream of events is accepted: a release without an onset, an onset of a key that is down,
    an unknown controller or a key outside the piano changes nothing that it should not.

    Args:
        sampled: whether every strike is a voice of its own; then there are "renew" actions.
        knocks: whether moves of the sustain pedal are strikes of `PEDAL_FALLS` and `PEDAL_RISES`.
    """

    def __init__(self, sampled: bool = False, knocks: bool = False) -> None:
        self.sampled, self.knocks = sampled, knocks
        self.reset()

    def reset(self) -> None:
        """All keys and pedals up."""
        self.finger = np.zeros(KEYS, dtype=bool)
        self.caught = np.zeros(KEYS, dtype=bool)  # by the sostenuto pedal
        self.ringing = np.zeros(KEYS, dtype=bool)  # struck, and the damper has not fallen since
        self.pedals = {SUSTAIN: 0, SOSTENUTO: 0, UNA_CORDA: 0}

    def state(self) -> dict[str, np.ndarray]:
        """A copy of the state as arrays, for `restore`."""
        return {
            "finger": self.finger.copy(),
            "caught": self.caught.copy(),
            "ringing": self.ringing.copy(),
            "pedals": np.array(list(self.pedals.values()), dtype=np.int64),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Return to a state taken with `state`."""
        self.finger, self.caught = state["finger"].copy(), state["caught"].copy()
        self.ringing = state["ringing"].copy()
        self.pedals = dict(zip(self.pedals, state["pedals"].tolist(), strict=True))

    def actions(self, events: Events) -> Iterator[Action]:
        """Yield (position, what, key from 0, velocity) for events in order.

        Events carry `position`; it is passed through as it is. "strike": the hammer hits the strings;
        "damp": the damper falls on them; "renew": of the key only the last strike is held from here on.
        """
        for position, kind, number, value in events.tolist():
            if kind == CONTROL:
                for what, key in self._move_pedal(number, value):
                    yield position, what, key, PEDAL_VELOCITY if what == "strike" else 0
            elif LOWEST_KEY <= number <= HIGHEST_KEY:
                key = number - LOWEST_KEY
                was_down = self.finger[key]
                self.finger[key] = kind == NOTE_ON and value > 0
                if self.finger[key]:
                    self.ringing[key] = True
                    yield position, "strike", key, value
                    if was_down and self._renews(key):
                        yield position, "renew", key, 0
                elif self._falls(key):
                    yield position, "damp", key, 0

    def _falls(self, key: int) -> bool:
        """Let the damper of a ringing key fall unless something holds it up."""
        held = self.finger[key] or self._pedal_holds(key)
        if held or not self.ringing[key]:
            return False
        self.ringing[key] = False
        return True

    def _renews(self, key: int) -> bool:
        """Whether of a key of a sampled instrument only the last strike is held, by the finger."""
        return bool(self.sampled and self.finger[key] and not self._pedal_holds(key))

    def _pedal_holds(self, key: int) -> bool:
        return bool(self.caught[key] or self.pedals[SUSTAIN] >= PEDAL_DOWN)

    def _move_pedal(self, number: int, value: int) -> list[tuple[What, int]]:
        """Set a pedal; return what that does to which keys."""
        if number not in self.pedals:
            return []
        was_down = self.pedals[number] >= PEDAL_DOWN
        self.pedals[number] = value
        is_down = value >= PEDAL_DOWN
        if number == UNA_CORDA or is_down == was_down:
            return []
        if number == SOSTENUTO:
            # The pedal catches the dampers that are up at the moment it goes down.
            self.caught = self.ringing.copy() if is_down else np.zeros(KEYS, dtype=bool)
        actions: list[tuple[What, int]] = []
        if self.knocks and number == SUSTAIN:
            actions.append(("strike", PEDAL_FALLS if is_down else PEDAL_RISES))
        if is_down:
            return actions
        ringing = np.flatnonzero(self.ringing).tolist()
        renewed = [key for key in ringing if self._renews(key)]
        fallen = [key for key in ringing if self._falls(key)]
        return [*actions, *(("damp", key) for key in fallen), *(("renew", key) for key in renewed)]
