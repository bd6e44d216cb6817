"""Plays the noise of a piano (`diffsynth.piano.noise`): a loop of noise for every band, at its level.

Loops are made once, of numbers that every machine draws alike, so that a piano sounds the same everywhere.
They differ in length, so that the sum of all does not repeat.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.audio.mel_bands import places_of
from diffsynth.midi.events import KEYS, PEDALS, SUSTAIN
from diffsynth.piano.modal_bank import Excitation
from diffsynth.piano.noise import Noise, drive, remember
from diffsynth.piano.piano import REFERENCE_VELOCITY, Piano, colours

LOOP = 2.0  # s, length of the longest loop
SHORTER = 0.0031  # s by which every loop is shorter than the one before
DOWN = 64  # position from which the sustain pedal counts as down
LOWEST = 20.0  # Hz, below which nothing is heard
SEED = 0x5EED  # of the loops


class NoiseDrives:
    """Follows what drives the noise of a piano, frame by frame.

    Args:
        piano: says how strikes grow with velocity.
        centre: [b] Hz, of the bands.
        seconds: length of a frame.

    Attributes:
        exponents: [88, b] of the velocity, by which the power of a strike of each key grows.
        down: whether the sustain pedal is.
    """

    def __init__(self, piano: Piano, centre: NDArray[np.float64], seconds: float) -> None:
        self._seconds = seconds
        self.exponents = 2 * (piano.exponent[:, None] + colours(centre, piano.colour))
        self.down = False

    def follow(self, excitation: Excitation) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """[i, f, b] what drives the memories in the frames of a block, and [f] where the pedal is down."""
        strikes = np.zeros((len(excitation.pedals), self.exponents.shape[1]))
        for strike in excitation.strikes:
            if strike.key < KEYS:
                strikes[strike.frame] += (strike.velocity / REFERENCE_VELOCITY) ** self.exponents[strike.key]
        down = excitation.pedals[:, PEDALS.index(SUSTAIN)] >= DOWN
        falls = down & ~np.append(self.down, down[:-1])
        self.down = bool(down[-1])
        counts = (strikes, excitation.key_ups, falls)
        return drive(*(count / self._seconds for count in counts)), down


class NoiseBank:
    """Noise of one piano at one sample rate, with its state.

    Args:
        piano: one whose noise was measured.
        noise: of that piano.
        rate: samples per second.
        frame: samples in a frame.
    """

    def __init__(self, piano: Piano, noise: Noise, rate: int, frame: int) -> None:
        self.noise, self._frame, self._seconds = noise, frame, frame / rate
        self._drives = NoiseDrives(piano, noise.centre, self._seconds)
        self._lengths = loop_lengths(len(noise.centre), rate)
        loops = make_loops(noise.centre, self._lengths, rate)
        self._loops = [loop[:length] for loop, length in zip(loops, self._lengths, strict=True)]
        self.reset()

    def reset(self) -> None:
        """As if nothing had been played."""
        self._drives.down = False
        self._memory = np.zeros(self.noise.weight.shape[1:])
        self._last = self.noise.floor.copy()
        self._position = 0

    def state(self) -> dict[str, Any]:
        """A copy of everything that the next block depends on, for `restore`."""
        counts = np.array([self._position, self._drives.down])
        return {"memory": self._memory.copy(), "last": self._last.copy(), "counts": counts}

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state taken with `state`."""
        self._memory, self._last = state["memory"].copy(), state["last"].copy()
        self._position, self._drives.down = int(state["counts"][0]), bool(state["counts"][1])

    def process(self, excitation: Excitation) -> NDArray[np.float64]:
        """[f + 1, b] levels at the frame borders of the next block."""
        drives, down = self._drives.follow(excitation)
        memories, self._memory = remember(drives, self._memory, self._seconds)
        levels = levels_of(self.noise, memories, down)
        levels = np.concatenate([self._last[None], levels])
        self._last = levels[-1]
        return levels

    def play(self, levels: NDArray[np.float64], gain: NDArray[np.float32]) -> NDArray[np.float32]:
        """Audio of a block, [f * frame].

        Args:
            levels: what `process` returned.
            gain: [f + 1, b], at the frame borders; amplitudes move linearly from one to the next.
        """
        frames, bands = len(levels) - 1, levels.shape[1]
        sound = self._next(frames * self._frame).reshape(bands, frames, self._frame)
        amplitude = (np.sqrt(levels) * gain).astype(np.float32)
        ramp = np.arange(self._frame, dtype=np.float32) / self._frame
        # [f, 2, b] times [f, b, frame]: the noise of a frame at its level of either border.
        sides = np.stack([amplitude[:-1], amplitude[1:]], axis=1) @ sound.transpose(1, 0, 2)
        audio = (sides[:, 0] * (1 - ramp) + sides[:, 1] * ramp).astype(np.float32)
        return audio.reshape(-1)

    def _next(self, length: int) -> NDArray[np.float32]:
        """[b, length] noise of every band at mean square 1, where the last block ended."""
        if len(self._loops[0]) < self._lengths[0] + length:  # goes on at its beginning
            sizes = (self._lengths + length).tolist()
            self._loops = [
                np.resize(loop[:lasts], size)
                for loop, lasts, size in zip(self._loops, self._lengths, sizes, strict=True)
            ]
        begins = (self._position % self._lengths).tolist()
        self._position += length
        return np.stack([loop[at : at + length] for loop, at in zip(self._loops, begins, strict=True)])


def levels_of(noise: Noise, memories: NDArray[np.float64], down: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[l, b] levels from memories [i, l, b] and where the sustain pedal is down, [l]."""
    weight = noise.weight[0][:, None] + noise.weight[1][:, None] * down[:, None]
    levels: NDArray[np.float64] = noise.floor + (weight * memories).sum(axis=0)
    return levels


def loop_lengths(bands: int, rate: int) -> NDArray[np.int64]:
    """[b] samples of the loop of every band."""
    return np.round((LOOP - SHORTER * np.arange(bands)) * rate).astype(np.int64)


def make_loops(centre: NDArray[np.float64], lengths: NDArray[np.int64], rate: int) -> NDArray[np.float32]:
    """[b, longest] Gaussian noise in every band, of mean square 1; a loop ends where its length says.

    Its power follows the share of the band in a frequency (`diffsynth.audio.mel_bands`).
    """
    loops = np.zeros((len(centre), lengths.max()), dtype=np.float32)
    for band, length in enumerate(lengths):
        frequency = np.asarray(np.fft.rfftfreq(length, 1 / rate), dtype=np.float64)
        power = np.maximum(0.0, 1.0 - np.abs(places_of(frequency, centre) - band))
        power[(frequency < LOWEST) | (frequency > centre[-1])] = 0.0
        spectrum = np.fft.rfft(np.random.default_rng([SEED, band]).standard_normal(length))
        loop = np.fft.irfft(spectrum * np.sqrt(power), length)
        loops[band, :length] = loop / np.sqrt(np.mean(loop**2))
    return loops
