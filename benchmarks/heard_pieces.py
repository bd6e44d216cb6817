"""Pieces as the engine's bank renders them, for learning gains, and plays them with gains."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffsynth.audio.files import padded, read_audio, resample
from diffsynth.audio.format import AudioFormat
from diffsynth.benchmark.offsets import offset
from diffsynth.datasets.folder import Pair
from diffsynth.errors import UserError
from diffsynth.midi.dampers import SOURCES
from diffsynth.midi.events import Events, to_samples
from diffsynth.midi.files import read_midi
from diffsynth.piano.excitation import Excitation, Strike
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.piano import Piano
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField

Real = NDArray[np.float32]
CHUNK = 8  # hops played at a time
AGES = {
    1: (1.0,),
    3: (0.1, 0.5, 2.0),
}  # s since the last strike of a key, where a gain of its modes acts alone
NEVER = -1e12  # samples: a strike before all time
FROM, SECONDS = 5.0, 40.0  # what is measured of a piece, s
MOST = 0.06  # s by which a recording may be early or late
SHORTEST = 10.0  # s


def shares_of_age(age: NDArray[np.floating], ages: int) -> Real:
    """[a, ..] shares of a gains in modes whose key was struck `age` s ago; they sum to 1.

    Triangles over the logarithm of the age, as bands are over mel.
    """
    knots = np.log(AGES[ages])
    place = np.interp(np.log(np.maximum(age, 1e-3)), knots, np.arange(ages))
    each = np.arange(ages).reshape(-1, *[1] * place.ndim)
    return np.maximum(0.0, 1.0 - np.abs(place - each)).astype(np.float32)


class Ages:
    """Follows how long ago every source was struck.

    Args:
        audio: rate and frame.
    """

    def __init__(self, audio: AudioFormat) -> None:
        self._rate, self._frame = audio.sample_rate, audio.frame
        self._last = np.full(SOURCES, NEVER)

    def follow(self, strikes: list[Strike], begin: int, frames: int) -> NDArray[np.float64]:
        """[f + 1, sources] ages in s at the borders of f frames from sample `begin` on."""
        borders = begin + self._frame * np.arange(frames + 1)
        struck = np.tile(self._last, (frames + 1, 1))
        for strike in sorted(strikes, key=lambda each: (each.frame, each.offset)):
            struck[strike.frame + 1 :, strike.key] = begin + strike.frame * self._frame + strike.offset
        self._last = struck[-1]
        return (borders[:, None] - struck) / self._rate


@dataclass(frozen=True)
class Rendered:
    """What the bank makes of a performance of l hops; all gains are 1.

    Attributes:
        modes: [a, l hop], by age; their sum is what is heard.
        noise: [l hop].
        condition: [l, c], see `GainField.condition`.
    """

    modes: Real
    noise: Real
    condition: NDArray[np.float16]


class EnginePiano:
    """The bank of a piano and the bands of its gains.

    Args:
        piano: without jitter: events of a recording say when its strikes sound.
        audio: rate and frame.
        features: bands of gains.
        ages: gains of every mode, one of `AGES`.
    """

    def __init__(self, piano: Piano, audio: AudioFormat, features: Features, ages: int = 1) -> None:
        self.field, self.bank = GainField(piano, audio, features), Bank(piano, audio.sample_rate, audio.frame)
        self.audio, self.ages, self.hop = audio, ages, features.hop * audio.frame

    def render(self, events: Events, hops: int) -> Rendered:
        """Modes, noise and condition of so many hops of a performance."""
        modes, noise, condition = [], [], []
        for excitation, shares in self._play(events, hops):
            modes.append(np.stack([self.bank.play_modes(excitation, share) for share in shares]))
            noise.append(self.bank.play_noise(excitation))
            condition.append(self.field.condition(excitation).astype(np.float16))
        length = hops * self.hop
        of_all = np.concatenate(modes, axis=1)[:, :length], np.concatenate(noise)[:length]
        return Rendered(*of_all, np.concatenate(condition)[:hops])

    def play(self, events: Events, gains: Real) -> Real:
        """Audio [l hop] of a performance with gains at the borders of l hops, [l + 1, k] nepers."""
        hops, bands, audio = len(gains) - 1, self.field.features.bands, []
        gains = np.pad(gains, ((0, -hops % CHUNK), (0, 0)), mode="edge")
        for i, (excitation, shares) in enumerate(self._play(events, hops)):
            part = gains[i * CHUNK : (i + 1) * CHUNK + 1]
            of_modes = np.zeros(shares.shape[1:], np.float32)
            for age, share in enumerate(shares):
                own = part[:, age * bands : (age + 1) * bands]
                of_modes += share * self.field.mode_gains(own, excitation.sounding)
            of_noise = self.field.noise_gains(part[:, (self.ages - 1) * bands :])
            audio.append(self.bank.play(excitation, of_modes, of_noise))
        return np.concatenate(audio)[: hops * self.hop]

    def _play(self, events: Events, hops: int) -> Iterator[tuple[Excitation, Real]]:
        """Excitations of `CHUNK` hops each, and shares of ages in the modes that sound, [a, f + 1, q]."""
        self.bank.reset()
        ages, played = Ages(self.audio), to_samples(events, self.audio.sample_rate)
        block, frames = CHUNK * self.hop, CHUNK * self.field.features.hop
        for begin in range(0, hops * self.hop, block):
            low, high = np.searchsorted(played["position"], [begin, begin + block])
            part = played[low:high].copy()
            part["position"] -= begin
            excitation = self.bank.process(part, frames)
            shares = shares_of_age(ages.follow(excitation.strikes, begin, frames), self.ages)
            yield excitation, shares[:, :, self.bank.piano.key[excitation.sounding.modes]]


@dataclass(frozen=True)
class Piece:
    """A performance: its name, its events, what the bank makes of it, and its recording, [l hop]."""

    name: str
    events: Events
    rendered: Rendered
    recorded: Real


def read_piece(
    pair: Pair, piano: Piano, audio: AudioFormat, features: Features, ages: int, minutes: float
) -> Piece:
    """A pair of files, at most so many minutes of it; the recording is moved to where its MIDI is.

    Raises:
        UserError: a file cannot be read, or is too short.
    """
    recorded, rate = read_audio(pair.audio)
    recorded = resample(recorded, rate, audio.sample_rate)[: int(60 * minutes * audio.sample_rate)]
    if len(recorded) < SHORTEST * audio.sample_rate:
        raise UserError(f"{pair.title}: shorter than {SHORTEST:g} s")
    engine, events = EnginePiano(piano, audio, features, ages), read_midi(pair.midi)
    rendered = engine.render(events, len(recorded) // engine.hop)
    heard = rendered.modes.sum(axis=0) + rendered.noise
    part = slice(int(FROM * audio.sample_rate), int((FROM + SECONDS) * audio.sample_rate))
    late = round(offset(recorded[part], heard[part], audio.sample_rate, MOST) * audio.sample_rate)
    return Piece(pair.title, events, rendered, padded(recorded, -late, len(heard)))
