"""Plays the noise of a piano (`diffsynth.piano.noise`): a loop of noise for every band, at its level.

Loops are made once, of numbers that every machine draws alike, so that a piano sounds the same everywhere.
They differ in length, so that the sum of all does not repeat.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from diffsynth.audio.mel_bands import places_of
from diffsynth.midi.dampers import PEDAL_DOWN
from diffsynth.midi.events import KEYS, PEDALS, SUSTAIN
from diffsynth.piano.excitation import Strike
from diffsynth.piano.noise import Noise, drive, remember
from diffsynth.piano.piano import Piano, colours

LOOP = 2.0  # s, length of the longest loop
SHORTER = 0.0031  # s by which every loop is shorter than the one before
PEDAL_DECAY = 0.1  # s in which the level of what the pedal held falls by e squared
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
        pedal: 1 while the sustain pedal is down; falls when it has risen.
    """

    def __init__(self, piano: Piano, centre: NDArray[np.float64], seconds: float) -> None:
        self._seconds, self._hardness = seconds, piano.hardness
        self.exponents = 2 * (piano.exponent[:, None] + colours(centre, piano.colour))
        self._fall = float(np.exp(-2 * seconds / PEDAL_DECAY))
        self.pedal = 0.0

    def follow(
        self, strikes: Sequence[Strike], key_ups: NDArray[np.int64], pedals: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """[i, f, b] what drives the memories in the frames of a block, and `pedal` of each, [f].

        Args:
            strikes: see `Excitation`, as are the others.
            key_ups: [f].
            pedals: [f, 3].
        """
        powers = np.zeros((len(pedals), self.exponents.shape[1]))
        for strike in strikes:
            if strike.key < KEYS:
                powers[strike.frame] += self._hardness(strike.velocity) ** self.exponents[strike.key]
        down = pedals[:, PEDALS.index(SUSTAIN)] >= PEDAL_DOWN
        falls = down & ~np.append(self.pedal == 1.0, down[:-1])
        pedal = np.empty(len(down))
        for frame, is_down in enumerate(down.tolist()):
            pedal[frame] = self.pedal = 1.0 if is_down else self._fall * self.pedal
        counts = (powers, key_ups, falls)
        return drive(*(count / self._seconds for count in counts)), pedal


class NoiseBank:
    """Noise of one piano at one sample rate, with its state.

    Args:
        piano: its noise may have no bands; then nothing is computed.
        rate: samples per second.
        frame: samples in a frame.
    """

    def __init__(self, piano: Piano, rate: int, frame: int) -> None:
        self.noise, self._frame, self._seconds = piano.noise, frame, frame / rate
        self._drives = NoiseDrives(piano, piano.noise.centre, self._seconds)
        self._channels, self._image = piano.channels, self.noise.image[:, None].astype(np.float32)
        self._loops = make_loops(piano.noise.centre, rate, self._channels)
        self._lengths = np.array([len(loop) for loop in self._loops])
        self._windows, self._first = np.zeros((0, 0), dtype=np.float32), self._lengths  # of `_cut`
        self.reset()

    def reset(self) -> None:
        """As if nothing had been played."""
        self._drives.pedal = 0.0
        self._memory = np.zeros(self.noise.weight.shape[1:])
        self._last = self.noise.floor.copy()

    def state(self) -> dict[str, Any]:
        """A copy of everything that the next block depends on, for `restore`."""
        return {"memory": self._memory.copy(), "last": self._last.copy(), "pedal": self._drives.pedal}

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state taken with `state`."""
        self._memory, self._last = state["memory"].copy(), state["last"].copy()
        self._drives.pedal = state["pedal"]

    def process(
        self, strikes: Sequence[Strike], key_ups: NDArray[np.int64], pedals: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """[f + 1, b] levels at the frame borders of the next block; see `NoiseDrives.follow`."""
        if not len(self._loops):
            return np.zeros((len(pedals) + 1, 0))
        drives, pedal = self._drives.follow(strikes, key_ups, pedals)
        memories, self._memory = remember(drives, self._memory, self._seconds)
        levels = np.concatenate([self._last[None], levels_of(self.noise, memories, pedal)])
        self._last = levels[-1]
        return levels

    def play(
        self, levels: NDArray[np.float64], begin: int, gain: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Audio of a block of c channels, [c, f * frame].

        Args:
            levels: what `process` returned.
            begin: samples since silence, of the start of the block.
            gain: [f + 1, b], at the frame borders; amplitudes move linearly from one to the next. By
                default 1.
        """
        frames, bands = len(levels) - 1, levels.shape[1]
        if not bands:
            return np.zeros((self._channels, frames * self._frame), dtype=np.float32)
        sound = self._cut(begin, frames * self._frame).reshape(-1, bands, frames, self._frame)
        amplitude = (np.sqrt(levels) * (1.0 if gain is None else gain)).astype(np.float32)
        ramp = np.arange(self._frame, dtype=np.float32) / self._frame
        # [c, f, 2, b] times [c, f, b, frame]: the noise of a frame at its level of either border.
        borders = np.stack([amplitude[:-1], amplitude[1:]], axis=1) * self._image[:, None]
        sides = borders @ sound.transpose(0, 2, 1, 3)
        audio = (sides[:, :, 0] * (1 - ramp) + sides[:, :, 1] * ramp).astype(np.float32)
        return audio.reshape(self._channels, -1)

    def _cut(self, begin: int, length: int) -> NDArray[np.float32]:
        """[c b, length] noise of every channel and band at mean square 1, from a sample on."""
        if self._windows.shape[1] != length:  # each loop goes on at its beginning
            sizes = self._lengths + length
            whole = [np.resize(loop, size) for loop, size in zip(self._loops, sizes.tolist(), strict=True)]
            self._windows = sliding_window_view(np.concatenate(whole), length)
            self._first = np.cumsum(sizes) - sizes
        return self._windows[self._first + begin % self._lengths]


def levels_of(noise: Noise, memories: NDArray[np.float64], pedal: NDArray[np.float64]) -> NDArray[np.float64]:
    """[l, b] levels from memories [i, l, b] and what the pedal holds of them, [l]."""
    weight = noise.weight[0][:, None] + noise.weight[1][:, None] * pedal[:, None]
    levels: NDArray[np.float64] = noise.floor + (weight * memories).sum(axis=0)
    return levels


def make_loops(centre: NDArray[np.float64], rate: int, channels: int = 1) -> list[NDArray[np.float32]]:
    """[c b] loops of Gaussian noise, in every band of every channel, of mean square 1; read-only.

    The loops of a channel differ in length.

    The power follows the share of the band in a frequency (`diffsynth.audio.mel_bands`). Half precision is
    enough for noise, and keeps exported voices small.
    """
    return list(_loops(tuple(centre.tolist()), rate, channels))


@lru_cache(maxsize=4)  # every player of a voice has the same ones, and making them takes a third of a second
def _loops(centres: tuple[float, ...], rate: int, channels: int) -> tuple[NDArray[np.float32], ...]:
    centre, loops = np.array(centres), []
    for channel, band in product(range(channels), range(len(centre))):
        length = round((LOOP - SHORTER * band) * rate)
        frequency = np.asarray(np.fft.rfftfreq(length, 1 / rate), dtype=np.float64)
        power = np.maximum(0.0, 1.0 - np.abs(places_of(frequency, centre) - band))
        power[(frequency < LOWEST) | (frequency > centre[-1])] = 0.0
        spectrum = np.fft.rfft(
            np.random.default_rng([SEED, band, *[channel] * (channel > 0)]).standard_normal(length)
        )
        loop = np.fft.irfft(spectrum * np.sqrt(power), length)
        loops.append((loop / np.sqrt(np.mean(loop**2))).astype(np.float16).astype(np.float32))
        loops[-1].flags.writeable = False
    return tuple(loops)
