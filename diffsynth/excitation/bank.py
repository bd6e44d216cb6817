"""The bank of modes: plays a `Piano` frame by frame, at a cost that does not depend on what sounds.

Every mode is a complex amplitude a that turns and decays by a constant factor per sample, so one
frame of audio is Re(a @ z ** [0 .. frame - 1]): a product with a table that never changes. Gains,
and the faster decay of strings whose damper is down, are linear ramps over a frame: two such
products, one fading out while the other fades in. Positions of strikes are exact to the sample;
dampers fall at the nearest frame border.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from diffsynth.events import PEDALS, Events
from diffsynth.excitation.dampers import Action, Dampers
from diffsynth.excitation.piano import Piano

SILENCE = 1e-8  # amplitude (-160 dB) below which a mode is set to nothing, so that no denormals remain


@dataclass(frozen=True)
class Strike:
    """A hammer that hits the strings of one key within a block."""

    frame: int
    offset: int  # samples after the start of the frame
    key: int  # 0 to 87
    velocity: int
    modes: slice
    amplitude: NDArray[np.complex64]  # [modes of the key]


@dataclass(frozen=True)
class Excitation:
    """Modes over one block of f frames; the audio that they make is decided by gains (`play`).

    Attributes:
        start: [f, p] amplitude of the modes at the start of each frame.
        late: [f, p] the same, less what dampers take away during the frame.
        end: [f, p] amplitude at the end of each frame, strikes within it included.
        pedals: [f, 3] positions of `diffsynth.events.PEDALS` at the end of each frame, 0 to 127.
        strikes: onsets within the block.
    """

    start: NDArray[np.complex64]
    late: NDArray[np.complex64]
    end: NDArray[np.complex64]
    pedals: NDArray[np.float32]
    strikes: list[Strike]


class Bank:
    """Oscillators of all modes of one piano at one sample rate, with their state."""

    def __init__(self, piano: Piano, rate: int, frame: int) -> None:
        self.piano, self.rate, self.frame = piano, rate, frame
        pole = (2j * np.pi * piano.frequency - piano.decay) / rate
        turns = np.exp(pole[:, None] * np.arange(frame)).astype(np.complex64)
        # Rows of the table: real parts, then negative imaginary parts, so Re(a z) is one product.
        self._table = np.ascontiguousarray(np.concatenate([turns.real, -turns.imag]))
        self._turns, self._pole = turns, pole
        self._advance = np.exp(pole * frame).astype(np.complex64)
        self._damping = np.exp(-piano.release[piano.key] * frame / rate).astype(np.float32)
        edges = np.searchsorted(piano.key, np.arange(len(piano.release) + 1))
        self._modes = [slice(a, b) for a, b in pairwise(edges.tolist())]
        self._still = np.zeros((2, len(piano.key)), dtype=np.complex64)
        self._struck_amplitude = piano.amplitude.astype(np.complex64)
        self.dampers = Dampers()
        self.reset()

    @property
    def modes(self) -> int:
        """Number of modes p."""
        return len(self.piano.key)

    def reset(self) -> None:
        """Silence, all keys and pedals up."""
        self.dampers.reset()
        self.amplitude = np.zeros((2, self.modes), dtype=np.complex64)  # held, released

    def state(self) -> dict[str, np.ndarray]:
        """A copy of everything that the next block depends on, for `restore`."""
        return {"amplitude": self.amplitude.copy(), **self.dampers.state()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Return to a state taken with `state`."""
        self.amplitude = state["amplitude"].copy()
        self.dampers.restore(state)

    def process(self, events: Events, frames: int) -> Excitation:
        """Advance by one block of `frames` frames.

        `events` carry `position` in samples from the start of the block, in order; a position
        outside the block is moved to its nearest sample.
        """
        events = events.copy()
        events["position"] = events["position"].clip(0, frames * self.frame - 1)
        borders = np.searchsorted(events["position"], self.frame * np.arange(frames + 1))
        start, late, end = np.empty((3, frames, self.modes), dtype=np.complex64)
        pedals = np.empty((frames, len(PEDALS)), dtype=np.float32)
        strikes: list[Strike] = []
        for index, (first, last) in enumerate(pairwise(borders.tolist())):
            actions = list(self.dampers.actions(events[first:last]))
            strikes += self._frame(index, actions, start, late, end)
            pedals[index] = list(self.dampers.pedals.values())
        self.amplitude[np.abs(self.amplitude) < SILENCE] = 0
        return Excitation(start, late, end, pedals, strikes)

    def play(self, excitation: Excitation, gain: NDArray[np.float32]) -> NDArray[np.float32]:
        """Audio of a block, [frames * frame], with a gain for every mode.

        Args:
            excitation: what `process` returned.
            gain: [f + 1, p], at the f + 1 frame borders; it moves linearly from one to the next.
        """
        frames = len(excitation.start)
        ramp = np.arange(self.frame, dtype=np.float32) / self.frame
        rows = np.concatenate([excitation.start * gain[:-1], excitation.late * gain[1:]])
        sums = np.concatenate([rows.real, rows.imag], axis=1) @ self._table
        audio = sums[:frames] * (1 - ramp) + sums[frames:] * ramp
        for strike in excitation.strikes:
            rest = ramp[strike.offset :]
            edges = gain[strike.frame : strike.frame + 2, strike.modes]
            sound = ((edges * strike.amplitude) @ self._turns[strike.modes, : len(rest)]).real
            audio[strike.frame, strike.offset :] += sound[0] * (1 - rest) + sound[1] * rest
        return audio.reshape(-1)

    def _frame(
        self,
        index: int,
        actions: list[Action],
        start: NDArray[np.complex64],
        late: NDArray[np.complex64],
        end: NDArray[np.complex64],
    ) -> list[Strike]:
        """Apply the actions of one frame and advance the modes by it."""
        strikes: list[Strike] = []
        falling: list[int] = []
        struck = np.zeros_like(self.amplitude) if actions else self._still
        for position, what, key, velocity in actions:
            offset, modes = position - index * self.frame, self._modes[key]
            if what == "strike":
                amplitude = self._struck_amplitude[modes] * np.float32(self.piano.gain(key, velocity))
                strikes.append(Strike(index, offset, key, velocity, modes, amplitude))
                struck[0, modes] += amplitude * np.exp(self._pole[modes] * (self.frame - offset))
            else:
                if offset < self.frame // 2:
                    _release(self.amplitude, modes)
                else:
                    falling.append(key)
                _release(struck, modes)
        start[index] = self.amplitude[0] + self.amplitude[1]
        self.amplitude[1] *= self._damping
        late[index] = self.amplitude[0] + self.amplitude[1]
        self.amplitude *= self._advance
        for key in falling:
            _release(self.amplitude, self._modes[key])
        if actions:
            self.amplitude += struck
        end[index] = self.amplitude[0] + self.amplitude[1]
        return strikes


def _release(amplitude: NDArray[np.complex64], modes: slice) -> None:
    """Move the held amplitude of some modes over to their released copy."""
    amplitude[1, modes] += amplitude[0, modes]
    amplitude[0, modes] = 0


def play_whole(piano: Piano, events: Events, rate: int, frame: int, length: int) -> NDArray[np.float32]:
    """Audio of a whole performance with all gains at 1, [length] samples.

    `events` carry `position` in samples from the start, in order.
    """
    bank = Bank(piano, rate, frame)
    frames = 32
    block = frames * frame
    unity = np.ones((frames + 1, bank.modes), dtype=np.float32)
    audio = np.empty(-(-length // block) * block, dtype=np.float32)
    for begin in range(0, length, block):
        low, high = np.searchsorted(events["position"], [begin, begin + block])
        part = events[low:high].copy()
        part["position"] -= begin
        audio[begin : begin + block] = bank.play(bank.process(part, frames), unity)
    return audio[:length]
