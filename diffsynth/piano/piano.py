"""The modal piano: what a key sounds like, as a sum of decaying sinusoids (modes).

A key struck at velocity v sounds as

    s(t) = Re sum_p (max(v, softest) / 64) ** exponent_p amplitude_p exp((2 pi i frequency_p - decay_p) t)

for t >= 0 until its damper falls, and from then on every mode decays by `release` more. Felt hardens the
faster it hits, so that loud strikes are brighter: `exponent` grows with frequency by `colour`. Strikes
below a velocity `softest` sound as at that one. A partial of a string may own two modes: their sum beats and
decays in two stages, as piano partials do (Weinreich, "Coupled piano strings", 1977). Nothing here is
learned by gradient descent; `diffsynth.fitting.fit` measures it from aligned performances.

The noise of the sustain pedal when it moves (`diffsynth.fitting.pedal_noise`) is a sum of modes as well. It
has two sources beside the 88 keys, one for each direction, which always sound at one velocity and are never
damped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from diffsynth.errors import UserError
from diffsynth.midi.dampers import SOURCES
from diffsynth.midi.events import KEYS
from diffsynth.piano.noise import SILENCE, Noise
from diffsynth.runs.files import atomic_path

REFERENCE_VELOCITY = 64
COLOUR_AT = 250.0 * 2.0 ** np.arange(6)  # Hz, frequencies of `Piano.colour`
MONO = np.ones((1, 1), dtype=np.complex128)  # the image of one channel
QUIETEST = 3e-4  # amplitude at velocity 127 below which a mode is left out (-70 dB)


@dataclass(frozen=True)
class Piano:
    """Modes of all keys, ordered by key; `key` counts from 0 (MIDI number 21).

    Attributes:
        key: [p] key that owns the mode, 0 to 87, or `PEDAL_FALLS` or `PEDAL_RISES`.
        frequency: [p] Hz.
        decay: [p] 1/s, amplitude.
        amplitude: [p] complex, full scale 1, at velocity 64 and the moment of the onset.
        release: [88] 1/s, added to the decay once the damper has fallen.
        exponent: [88] of velocity.
        sampled: whether it is a sampled instrument, every strike a voice of its own
            (`diffsynth.midi.dampers`).
        jitter: s, standard deviation of the moments of strikes; says how the older sound of a key and a new
            strike add up (`diffsynth.piano.interference`); 0 for the exact sum.
        colour: [6] what modes at `COLOUR_AT` add to the exponent of their key, linear in octaves between.
        softest: velocity below which strikes become no softer; 1 if they always do.
        rise: 1/s, by which strikes rise (`diffsynth.piano.rise`); 0 if they begin with a step.
        noise: what sounds between the partials.
        image: [c, p] complex factors by which each of c channels hears the modes, mean square 1 over the
            channels: where a key lies in the stereo image. [1, 1] if there is one channel.
    """

    key: NDArray[np.int64]
    frequency: NDArray[np.float64]
    decay: NDArray[np.float64]
    amplitude: NDArray[np.complex128]
    release: NDArray[np.float64]
    exponent: NDArray[np.float64]
    sampled: bool = False
    jitter: float = 0.0
    colour: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(COLOUR_AT)))
    softest: float = 1.0
    rise: float = 0.0
    noise: Noise = SILENCE
    image: NDArray[np.complex128] = field(default_factory=lambda: MONO)

    @property
    def channels(self) -> int:
        """Number of channels c."""
        return len(self.image)

    def gain(self, key: int, velocity: int) -> float:
        """Factor by which a strike of `key` at `velocity` differs from one at velocity 64, colour apart."""
        if key >= KEYS:
            return 1.0
        return self.hardness(velocity) ** float(self.exponent[key])

    def hardness(self, velocity: int) -> float:
        """How hard a strike is, 1 at velocity 64; raised to its exponent it is the gain of a mode."""
        return max(velocity, self.softest) / REFERENCE_VELOCITY

    @property
    def exponents(self) -> NDArray[np.float64]:
        """[p] exponent of velocity of every mode, 0 for the pedal's."""
        exponent = np.concatenate([self.exponent, np.zeros(SOURCES - KEYS)])[self.key]
        return np.where(self.key < KEYS, exponent + colours(self.frequency, self.colour), 0.0)

    @property
    def releases(self) -> NDArray[np.float64]:
        """[90] release of every source, in 1/s."""
        return np.concatenate([self.release, np.zeros(SOURCES - KEYS)])

    @property
    def knocks(self) -> bool:
        """Whether movements of the sustain pedal are heard."""
        return bool((self.key >= KEYS).any())

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """The piano as float64 arrays that any safetensors file can hold, of complex ones two parts."""
        arrays = {name: np.asarray(getattr(self, name)) for name in ARRAYS}
        arrays |= {NOISE + name: array for name, array in self.noise.tensors().items()}
        for name in COMPLEX:
            arrays[name] = np.stack([arrays[name].real, arrays[name].imag])
        return {name: np.ascontiguousarray(array, dtype=np.float64) for name, array in arrays.items()}

    @staticmethod
    def from_tensors(tensors: Mapping[str, NDArray[np.float64]]) -> "Piano":
        """Inverse of `tensors`.

        Raises:
            UserError: an array is missing, does not fit the others, or holds values that no piano can have.
        """
        try:
            # Older files lack these, and noise.
            plain: dict[str, Any] = dict.fromkeys(("sampled", "jitter", "rise"), np.zeros(()))
            plain["softest"] = np.ones(())
            plain |= {"colour": np.zeros(len(COLOUR_AT)), "image": np.stack([MONO.real, MONO.imag])}
            arrays = {name: np.asarray({**plain, **tensors}[name]) for name in ARRAYS}
            for name in COMPLEX:
                real, imaginary = arrays[name]
                arrays[name] = real + 1j * imaginary
            key, sampled = arrays.pop("key").astype(np.int64), bool(arrays.pop("sampled"))
            jitter, softest, rise = (float(arrays.pop(name).item()) for name in ("jitter", "softest", "rise"))
            noise = {name[len(NOISE) :]: tensors[name] for name in tensors if name.startswith(NOISE)}
            piano = Piano(
                key=key,
                sampled=sampled,
                jitter=jitter,
                softest=softest,
                rise=rise,
                noise=Noise.from_tensors(noise) if noise else SILENCE,
                **arrays,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"not a modal piano: {error}") from error
        modes = {piano.key.shape, piano.frequency.shape, piano.decay.shape, piano.amplitude.shape}
        if modes != {(piano.key.size,)} or {piano.release.shape, piano.exponent.shape} != {(KEYS,)}:
            raise UserError("not a modal piano: its arrays do not fit together")
        images = {(1, 1), (piano.channels, piano.key.size)}
        if piano.colour.shape != COLOUR_AT.shape or piano.image.shape not in images:
            raise UserError("not a modal piano: its arrays do not fit together")
        if piano.noise.centre.size and piano.noise.channels != piano.channels:
            raise UserError("not a modal piano: its noise has another number of channels")
        if not all(np.isfinite(getattr(piano, name)).all() for name in ARRAYS):
            raise UserError("not a modal piano: it holds values that are not finite")
        if (np.diff(piano.key, prepend=0, append=SOURCES - 1) < 0).any():
            raise UserError("not a modal piano: its keys are not in order")
        return piano


ARRAYS = [entry.name for entry in fields(Piano) if entry.name != "noise"]
COMPLEX = ("amplitude", "image")
NOISE = "noise_"  # before the names of the arrays of `Noise`, among those of the piano


def colours(frequency: NDArray[np.float64], colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """[p] what modes of some frequencies (Hz) add to the exponent of their key, as `Piano.colour` says."""
    octave = np.log2(np.maximum(frequency, 1.0))
    return np.asarray(np.interp(octave, np.log2(COLOUR_AT), colour))


def save_piano(path: str | Path, piano: Piano) -> None:
    """Write a piano as safetensors, atomically."""
    with atomic_path(path) as temporary:
        save_file(piano.tensors(), str(temporary))


def load_piano(path: str | Path) -> Piano:
    """Read a piano written by `save_piano`.

    Raises:
        UserError: the file is missing or is not a modal piano.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist; run `diffsynth fit` first")
    try:
        return Piano.from_tensors(load_file(str(path)))
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file: {error}") from error
    except UserError as error:
        raise UserError(f"{path} is {error}") from error
