"""The bank: plays the modes and the noise of a `Piano` frame by frame.

Its cost does not depend on how many keys sound.

Every mode has a complex amplitude a, which is multiplied by a constant z in every sample. So one frame of
audio is Re(a @ z ** [0 .. frame - 1]), a product with a fixed table. Gains, and the faster decay of damped
strings, are linear ramps over a frame: two such products are cross-faded. Strikes are exact to the sample;
dampers fall at the nearest frame border. The equations are in docs/method.md, section 1.

Without events the amplitudes at all frame borders of a block are the first one times powers of a constant.
An event then changes the modes of its key from its border on. How a strike changes the older sound of its
key is decided by `diffsynth.piano.interference`. In a sampled instrument the contribution of the last strike
of a key follows from its age; all else that its modes hold comes from older strikes.
"""

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.midi.dampers import SOURCES, Action, Dampers
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, PEDALS, Events
from diffsynth.piano.excitation import Excitation, Rising, Strike
from diffsynth.piano.interference import Interference
from diffsynth.piano.noise_bank import NoiseBank
from diffsynth.piano.piano import REFERENCE_VELOCITY, Piano
from diffsynth.piano.rise import Rises

SILENCE = 1e-8  # amplitude (-160 dB) below which a mode is set to 0, so that no denormal numbers remain


class Bank:
    """Oscillators of all modes of one piano at one sample rate, with their state."""

    def __init__(self, piano: Piano, rate: int, frame: int) -> None:
        self.piano, self.rate, self.frame = piano, rate, frame
        pole = ((2j * np.pi * piano.frequency - piano.decay) / rate).astype(np.complex128)
        turns = np.exp(pole[:, None] * np.arange(frame)).astype(np.complex64)
        # Rows of the table: Re z and -Im z of every mode in turn, in the order in which complex numbers lie
        # in memory, so that Re(a z) is one real product.
        self._table = np.stack([turns.real, -turns.imag], axis=1).reshape(-1, frame)
        self._turns, self._pole = turns, pole
        self._damping = -piano.releases[piano.key] / rate
        self._fade = (1 - np.exp(self._damping * frame)).astype(np.float32)
        edges = np.searchsorted(piano.key, np.arange(SOURCES + 1))
        self._modes = [slice(a, b) for a, b in pairwise(edges.tolist())]
        self._interference = [Interference(piano, modes) for modes in self._modes] if piano.jitter else []
        self._struck_amplitude = piano.amplitude.astype(np.complex64)
        self._exponents = piano.exponents
        self._rises = Rises(piano.rise, pole, rate, frame)
        self._noise = NoiseBank(piano, rate, frame)
        self._free, self._damped = self._powers(0)
        self.dampers = Dampers(piano.sampled, piano.knocks)
        self.reset()

    @property
    def modes(self) -> int:
        """Number of modes p."""
        return len(self.piano.key)

    def reset(self) -> None:
        """Silence, all keys and pedals up."""
        self.dampers.reset()
        self.amplitude = np.zeros((2, self.modes), dtype=np.complex64)  # held, released
        self._voices = np.zeros(SOURCES, dtype=np.int64)  # number of strikes that are held
        self._struck = np.zeros(SOURCES, dtype=np.int64)  # last strike, samples from the block's start
        self._velocity = np.zeros(SOURCES)  # of the last strike
        self._rises.young = []
        self._noise.reset()
        self._begin = 0

    def state(self) -> dict[str, Any]:
        """A copy of everything that the next block depends on, for `restore`."""
        strikes = np.stack([self._voices, self._struck, self._velocity])
        return {
            "amplitude": self.amplitude.copy(),
            "strikes": strikes,
            "young": list(self._rises.young),
            "noise": self._noise.state(),
            "begin": self._begin,
            **self.dampers.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state taken with `state`."""
        self.amplitude = state["amplitude"].copy()
        voices, struck, self._velocity = state["strikes"].copy()
        self._voices, self._struck = voices.astype(np.int64), struck.astype(np.int64)
        self._rises.young = list(state["young"])
        self._noise.restore(state["noise"])
        self._begin = state["begin"]
        self.dampers.restore(state)

    def process(self, events: Events, frames: int) -> Excitation:
        """Advance by one block of `frames` frames.

        `events` carry `position` in samples from the start of the block, in order; a position
        outside the block is moved to its nearest sample.
        """
        if len(self._free) <= frames:
            self._free, self._damped = self._powers(frames)
        held = self.amplitude[0] * self._free[: frames + 1]
        released = self.amplitude[1] * self._damped[: frames + 1]
        pedals = np.empty((frames, len(PEDALS)), dtype=np.float32)
        strikes: list[Strike] = []
        position = events["position"].clip(0, frames * self.frame - 1)
        borders = np.searchsorted(position, self.frame * np.arange(frames + 1))
        for index, (first, last) in enumerate(pairwise(borders.tolist())):
            if first < last:
                part = events[first:last].copy()
                part["position"] = position[first:last] - index * self.frame
                strikes += self._act(index, list(self.dampers.actions(part)), held, released)
            pedals[index] = list(self.dampers.pedals.values())
        border = held + released
        late = border[:-1] - self._fade * released[:-1]
        self._struck -= frames * self.frame
        self.amplitude = np.stack([held[-1], released[-1]])
        power = self.amplitude.real**2 + self.amplitude.imag**2
        self.amplitude[power < SILENCE**2] = 0
        let_go = (events["kind"] == NOTE_OFF) | ((events["kind"] == NOTE_ON) & (events["value"] == 0))
        key_ups = np.bincount(position[let_go] // self.frame, minlength=frames)
        rising = self._rises.process(strikes, frames)
        noise = self._noise.process(strikes, key_ups, pedals)
        begin, self._begin = self._begin, self._begin + frames * self.frame
        return Excitation(border, late, pedals, key_ups, strikes, rising, noise, begin)

    def play(
        self,
        excitation: Excitation,
        gain: NDArray[np.float32],
        noise_gain: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Audio of a block, [frames * frame].

        Args:
            excitation: what `process` returned.
            gain: [f + 1, p], of the modes at the f + 1 frame borders; linear in between.
            noise_gain: [f + 1, b], of the bands of noise; by default 1.
        """
        frames, modes = excitation.late.shape
        ramp = np.arange(self.frame, dtype=np.float32) / self.frame
        rows = np.empty((2 * frames, modes), dtype=np.complex64)
        np.multiply(excitation.start, gain[:-1], out=rows[:frames])
        np.multiply(excitation.late, gain[1:], out=rows[frames:])
        sums = rows.view(np.float32) @ self._table
        audio = (sums[:frames] * (1 - ramp) + sums[frames:] * ramp).astype(np.float32)
        for strike in excitation.strikes:
            self._add(audio, gain, strike, 1.0)
        for part in excitation.rising:
            self._add(audio, gain, part, -self._rises.fade[: self.frame - part.offset])
        return audio.reshape(-1) + self._noise.play(excitation.noise, excitation.begin, noise_gain)

    def _add(
        self,
        audio: NDArray[np.float32],
        gain: NDArray[np.float32],
        part: Strike | Rising,
        factor: float | NDArray[np.float32],
    ) -> None:
        """Add a part of a strike to the rest of its frame, [f, frame], times a factor."""
        rest = np.arange(part.offset, self.frame, dtype=np.float32) / self.frame
        edges = gain[part.frame : part.frame + 2, part.modes]
        sound = ((edges * part.amplitude) @ self._turns[part.modes, : len(rest)]).real
        audio[part.frame, part.offset :] += factor * (sound[0] * (1 - rest) + sound[1] * rest)

    def _powers(self, frames: int) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        """Factors, [frames + 1, p], by which free and damped modes change over 0, 1, .. frames."""
        samples = self.frame * np.arange(frames + 1)[:, None]
        free, damped = np.exp(self._pole * samples), np.exp((self._pole + self._damping) * samples)
        return free.astype(np.complex64), damped.astype(np.complex64)

    def _act(
        self,
        index: int,
        actions: list[Action],
        held: NDArray[np.complex64],
        released: NDArray[np.complex64],
    ) -> list[Strike]:
        """Apply the actions of one frame, positions counted from its start, to borders [f + 1, p]."""
        strikes: list[Strike] = []
        # By key: amplitudes at the end of the frame, of the strikes within it.
        fresh: dict[int, NDArray[np.complex64]] = {}
        renewed: set[int] = set()
        half = self.frame // 2
        for (what, early), group in groupby(actions, lambda action: (action[1], action[0] < half)):
            if what == "strike":
                for offset, _, key, velocity in group:
                    strike, left = self._strike(index, offset, key, velocity, held)
                    strikes.append(strike)
                    fresh[key] = fresh[key] + left if key in fresh else left
                continue
            keys = [key for _, _, key, _ in group]
            if what == "renew":
                renewed.update(keys)
                continue
            self._damp(keys, index if early else index + 1, held, released)
            renewed.difference_update(keys)
            for key in keys:
                gone = fresh.pop(key, None)
                if early and gone is not None:
                    self._spread(released, self._damped, index + 1, self._modes[key], gone)
        for key in renewed:
            self._renew(key, index + 1, held, released)
        return strikes

    def _strike(
        self, index: int, offset: int, key: int, velocity: int, held: NDArray[np.complex64]
    ) -> tuple[Strike, NDArray[np.complex64]]:
        """Strike a key within a frame; returns the strike and its amplitudes at the end of the frame."""
        modes = self._modes[key]
        amplitude = self._amplitude(modes, velocity)
        turn = np.exp(self._pole[modes] * (self.frame - offset))
        left = (amplitude * turn).astype(np.complex64)
        if self._interference and self._voices[key]:
            # Both sounds are taken a whole frame after the strike, whatever its place in the frame.
            on = np.exp(self._pole[modes] * offset)
            change = self._interference[key].change(held[index + 1, modes] * on, left * on) / on
            amplitude = (amplitude + change / turn).astype(np.complex64)
            left = (left + change).astype(np.complex64)
        self._spread(held, self._free, index + 1, modes, left)
        self._voices[key] += 1
        self._struck[key], self._velocity[key] = index * self.frame + offset, velocity
        return Strike(index, offset, key, velocity, modes, amplitude), left

    def _amplitude(self, modes: slice, velocity: int) -> NDArray[np.complex64]:
        """Amplitudes of the modes of a key at the moment of a strike."""
        gain = (velocity / REFERENCE_VELOCITY) ** self._exponents[modes]
        return self._struck_amplitude[modes] * gain.astype(np.float32)

    def _damp(
        self,
        keys: Sequence[int],
        border: int,
        held: NDArray[np.complex64],
        released: NDArray[np.complex64],
    ) -> None:
        """From a border on, what is held of some keys counts as released."""
        if len(keys) == 1:
            modes: slice | NDArray[np.intp] = self._modes[keys[0]]
        else:
            modes = np.concatenate([np.arange(s.start, s.stop) for s in map(self._modes.__getitem__, keys)])
        self._spread(released, self._damped, border, modes, held[border, modes])
        held[border:, modes] = 0
        self._voices[keys] = 0

    def _renew(
        self, key: int, border: int, held: NDArray[np.complex64], released: NDArray[np.complex64]
    ) -> None:
        """From a border on, all but the last strike of a key counts as released."""
        if self._voices[key] < 2:
            return
        modes, age = self._modes[key], border * self.frame - self._struck[key]
        last = self._amplitude(modes, int(self._velocity[key])) * np.exp(self._pole[modes] * age)
        last = last.astype(np.complex64)
        self._spread(released, self._damped, border, modes, held[border, modes] - last)
        held[border:, modes] = 0
        self._spread(held, self._free, border, modes, last)
        self._voices[key] = 1

    @staticmethod
    def _spread(
        borders: NDArray[np.complex64],
        powers: NDArray[np.complex64],
        first: int,
        modes: "slice | NDArray[np.intp]",
        amplitude: NDArray[np.complex64],
    ) -> None:
        """Add an amplitude at one border, and what becomes of it at the borders after it."""
        borders[first:, modes] += amplitude * powers[: len(borders) - first, modes]


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
