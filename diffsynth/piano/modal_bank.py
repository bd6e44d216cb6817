"""The bank: plays the modes and the noise of a `Piano` frame by frame.

Only keys that sound cost anything (`diffsynth.piano.sounding`); if most do, all modes are played.

Every mode has a complex amplitude a, which is multiplied by a constant z in every sample. So one frame of
audio is Re(a @ z ** [0 .. frame - 1]), a product with a fixed table. Gains, and the faster decay of damped
strings, are linear ramps over a frame: two such products are cross-faded. Strikes are exact to the sample;
dampers fall at the nearest frame border. The equations are in docs/method.md, section 1.

Events change the amplitudes at frame borders (`diffsynth.piano.borders`), and a strike the older sound of its
key (`diffsynth.piano.interference`). In a sampled instrument the contribution of the last strike of a key
follows from its age; all else that its modes hold comes from older strikes.
"""

from itertools import chain, groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.audio.channels import interleaved
from diffsynth.midi.dampers import SOURCES, Action, Dampers
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, PEDALS, Events
from diffsynth.piano.ages import NEVER, ages_at_borders
from diffsynth.piano.borders import Borders
from diffsynth.piano.excitation import Excitation, Rising, Strike
from diffsynth.piano.interference import Interference
from diffsynth.piano.noise_bank import NoiseBank
from diffsynth.piano.piano import Piano
from diffsynth.piano.rise import Rises
from diffsynth.piano.sounding import Keys, Sounding
from diffsynth.piano.turns import Turns

SILENCE = 1e-8  # amplitude (-160 dB) below which a mode is set to 0, so that no denormal numbers remain


class Bank:
    """Oscillators of all modes of one piano at one sample rate, with their state."""

    def __init__(self, piano: Piano, rate: int, frame: int) -> None:
        self.piano, self.rate, self.frame = piano, rate, frame
        pole = ((2j * np.pi * piano.frequency - piano.decay) / rate).astype(np.complex128)
        self._turns, self._pole = Turns(pole, frame), pole
        self._damping = -piano.releases[piano.key] / rate
        self._fade = (1 - np.exp(self._damping * frame)).astype(np.float32)
        edges = np.searchsorted(piano.key, np.arange(SOURCES + 1))
        self._modes = [slice(a, b) for a, b in pairwise(edges.tolist())]
        self._keys = Keys(self._modes)
        self._interference = [Interference(piano, modes) for modes in self._modes] if piano.jitter else []
        self._struck_amplitude = piano.amplitude.astype(np.complex64)
        self._exponents = piano.exponents
        self._image = piano.image.astype(np.complex64) if piano.channels > 1 else None
        self._rises = Rises(piano.rise, pole, rate, frame)
        self._noise = NoiseBank(piano, rate, frame)
        self._free = self._damped = np.zeros((0, 0), dtype=np.complex64)  # made for the longest block so far
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
        self._ringing: list[int] = []  # keys of which any is left
        self._voices = np.zeros(SOURCES, dtype=np.int64)  # number of strikes that are held
        self._struck = np.full(SOURCES, NEVER)  # last strike, samples from the block's start
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
        self._ringing = np.unique(self.piano.key[self.amplitude.any(axis=0)]).tolist()
        voices, struck, self._velocity = state["strikes"].copy()
        self._voices, self._struck = voices.astype(np.int64), struck.astype(np.int64)
        self._rises.young = list(state["young"])
        self._noise.restore(state["noise"])
        self._begin = state["begin"]
        self.dampers.restore(state)

    def process(self, events: Events, frames: int) -> Excitation:
        """Advance by one block of `frames` frames.

        `events` carry `position` in samples from its start, in order; one outside moves to its nearest one.
        """
        position = events["position"].clip(0, frames * self.frame - 1)
        actions, pedals = self._follow(events, position, frames)
        struck = [key for _, what, key, _ in chain(*actions) if what == "strike"]
        rising = [strike.key for _, strike in self._rises.young]
        sounding = self._keys.sounding(self._ringing, [*struck, *rising])
        borders = self._borders(sounding, frames)
        before, strikes = self._struck.copy(), list[Strike]()
        for index, group in enumerate(actions):
            strikes += self._act(index, group, borders)
        ages = ages_at_borders(sounding.keys, before, strikes, frames, self.frame)
        border = borders.held + borders.released
        late = border[:-1] - sounding.of(self._fade) * borders.released[:-1]
        self._struck -= frames * self.frame
        self._keep(sounding, np.stack([borders.held[-1], borders.released[-1]]))
        let_go = (events["kind"] == NOTE_OFF) | ((events["kind"] == NOTE_ON) & (events["value"] == 0))
        key_ups = np.bincount(position[let_go] // self.frame, minlength=frames)
        missing = self._rises.process(strikes, frames)
        noise = self._noise.process(strikes, key_ups, pedals)
        begin, self._begin = self._begin, self._begin + frames * self.frame
        return Excitation(sounding, border, late, pedals, key_ups, strikes, missing, noise, begin, ages)

    def play(
        self,
        excitation: Excitation,
        gain: NDArray[np.float32],
        noise_gain: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Audio of a block, [frames * frame], or [frames * frame, c] if the piano has c > 1 channels.

        Args:
            excitation: what `process` returned.
            gain: [f + 1, p] at the f + 1 frame borders; or [f + 1, q], of `Excitation.sounding` alone.
            noise_gain: [f + 1, b], of the bands of noise; by default 1.
        """
        return self.play_modes(excitation, gain) + self.play_noise(excitation, noise_gain)

    def play_noise(
        self, excitation: Excitation, gain: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """The noise of a block; see `play`."""
        return interleaved(self._noise.play(excitation.noise, excitation.begin, gain))

    def play_modes(self, excitation: Excitation, gain: NDArray[np.float32]) -> NDArray[np.float32]:
        """The modes of a block; see `play`."""
        sounding, frames = excitation.sounding, len(excitation.pedals)
        if gain.shape[1] == self.modes:
            gain = sounding.of(gain)
        ramp = np.arange(self.frame, dtype=np.float32) / self.frame
        rows = np.empty((2 * frames, len(sounding.modes)), dtype=np.complex64)
        np.multiply(excitation.at_borders[:-1], gain[:-1], out=rows[:frames])
        np.multiply(excitation.reduced, gain[1:], out=rows[frames:])
        if self._image is not None:
            rows = np.concatenate(sounding.of(self._image)[:, None] * rows)
        sums = self._turns.sum(sounding, rows).reshape(-1, 2, frames, self.frame)
        audio = (sums[:, 0] * (1 - ramp) + sums[:, 1] * ramp).astype(np.float32)
        for strike in excitation.strikes:
            self._add(audio, gain[:, sounding.places[strike.key]], strike, 1.0)
        for part in excitation.rising:
            fade = -self._rises.fade[: self.frame - part.offset]
            self._add(audio, gain[:, sounding.places[part.key]], part, fade)
        return interleaved(audio.reshape(len(audio), -1))

    def _add(
        self,
        audio: NDArray[np.float32],
        gain: NDArray[np.float32],
        part: Strike | Rising,
        factor: float | NDArray[np.float32],
    ) -> None:
        """Add a part of a strike, with gains of its modes and a factor, to the rest of its frame.

        `audio` is [c, f, frame].
        """
        rest = np.arange(part.offset, self.frame, dtype=np.float32) / self.frame
        edges = gain[part.frame : part.frame + 2] * part.amplitude
        if self._image is not None:
            edges = self._image[:, None, part.modes] * edges
        sound = (edges @ self._turns.complex[part.modes, : len(rest)]).real
        faded = sound[..., 0, :] * (1 - rest) + sound[..., 1, :] * rest
        audio[:, part.frame, part.offset :] += factor * faded

    def _follow(
        self, events: Events, position: NDArray[np.int64], frames: int
    ) -> tuple[list[list[Action]], NDArray[np.float32]]:
        """What keys do in each frame, at positions from its start, and the pedals at its end, [f, 3]."""
        pedals = np.empty((frames, len(PEDALS)), dtype=np.float32)
        actions: list[list[Action]] = []
        borders = np.searchsorted(position, self.frame * np.arange(frames + 1))
        for index, (first, last) in enumerate(pairwise(borders.tolist())):
            actions.append([])
            if first < last:
                part = events[first:last].copy()
                part["position"] = position[first:last] - index * self.frame
                actions[-1] += self.dampers.actions(part)
            pedals[index] = list(self.dampers.pedals.values())
        return actions, pedals

    def _borders(self, sounding: Sounding, frames: int) -> Borders:
        """Amplitudes at the borders of a block without events."""
        if len(self._free) <= frames:
            self._free, self._damped = self._powers(frames)
        free, damped = (sounding.of(powers[: frames + 1]) for powers in (self._free, self._damped))
        return Borders(sounding, sounding.of(self.amplitude), free, damped)

    def _keep(self, sounding: Sounding, amplitude: NDArray[np.complex64]) -> None:
        """Keep what is held and released at the end of a block, [2, q], where it is not silent."""
        heard = amplitude.real**2 + amplitude.imag**2 >= SILENCE**2
        amplitude[~heard] = 0
        for modes, places in sounding.runs:
            self.amplitude[:, modes] = amplitude[:, places]
        left = sounding.sums(heard[0] | heard[1])
        self._ringing = [key for key, some in zip(sounding.keys, left.tolist(), strict=True) if some]

    def _powers(self, frames: int) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        """Factors, [frames + 1, p], by which free and damped modes change over 0, 1, .. frames."""
        samples = self.frame * np.arange(frames + 1)[:, None]
        free, damped = np.exp(self._pole * samples), np.exp((self._pole + self._damping) * samples)
        return free.astype(np.complex64), damped.astype(np.complex64)

    def _act(self, index: int, actions: list[Action], borders: Borders) -> list[Strike]:
        """Apply the actions of one frame."""
        strikes: list[Strike] = []
        # By key: amplitudes at the end of the frame, of the strikes within it.
        fresh: dict[int, NDArray[np.complex64]] = {}
        renewed: set[int] = set()
        half = self.frame // 2
        for (what, early), group in groupby(actions, lambda action: (action[1], action[0] < half)):
            if what == "strike":
                for offset, _, key, velocity in group:
                    strike, left = self._strike(index, offset, key, velocity, borders)
                    strikes.append(strike)
                    fresh[key] = fresh[key] + left if key in fresh else left
                continue
            keys = [key for _, _, key, _ in group]
            if what == "renew":
                renewed.update(keys)
                continue
            borders.release(keys, index if early else index + 1)
            self._voices[keys] = 0
            renewed.difference_update(keys)
            for key in keys:
                gone = fresh.pop(key, None)
                if early and gone is not None:
                    borders.add_released(key, index + 1, gone)
        for key in renewed:
            self._renew(key, index + 1, borders)
        return strikes

    def _strike(
        self, index: int, offset: int, key: int, velocity: int, borders: Borders
    ) -> tuple[Strike, NDArray[np.complex64]]:
        """Strike a key within a frame; returns the strike and its amplitudes at the end of the frame."""
        modes = self._modes[key]
        amplitude = self._amplitude(modes, velocity)
        turn = np.exp(self._pole[modes] * (self.frame - offset))
        left = (amplitude * turn).astype(np.complex64)
        if self._interference and self._voices[key]:
            # Both sounds are taken a whole frame after the strike, whatever its place in the frame.
            on = np.exp(self._pole[modes] * offset)
            change = self._interference[key].change(borders.held_of(key, index + 1) * on, left * on) / on
            amplitude = (amplitude + change / turn).astype(np.complex64)
            left = (left + change).astype(np.complex64)
        borders.hold(key, index + 1, left)
        self._voices[key] += 1
        self._struck[key], self._velocity[key] = index * self.frame + offset, velocity
        return Strike(index, offset, key, velocity, modes, amplitude), left

    def _amplitude(self, modes: slice, velocity: int) -> NDArray[np.complex64]:
        """Amplitudes of the modes of a key at the moment of a strike."""
        gain = self.piano.hardness(velocity) ** self._exponents[modes]
        return self._struck_amplitude[modes] * gain.astype(np.float32)

    def _renew(self, key: int, border: int, borders: Borders) -> None:
        """From a border on, all but the last strike of a key counts as released."""
        if self._voices[key] < 2:
            return
        self._voices[key] = 1
        if key in borders:
            modes, age = self._modes[key], border * self.frame - self._struck[key]
            last = self._amplitude(modes, int(self._velocity[key])) * np.exp(self._pole[modes] * age)
            borders.keep(key, border, last.astype(np.complex64))
