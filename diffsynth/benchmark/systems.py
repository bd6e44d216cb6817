"""What can play a performance: voices of this project, their piano alone, a SoundFont.

Programs of others are in `diffsynth.benchmark.external`.
"""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from diffsynth.audio.files import Audio, clipped, write_audio
from diffsynth.benchmark.pieces import Piece
from diffsynth.datasets.soundfont import RENDER_RATE, check, render_soundfont
from diffsynth.midi.events import to_samples
from diffsynth.runs.files import sha256
from diffsynth.synthesis.bounds import EXCITATION, play_alone
from diffsynth.synthesis.config import BACKENDS, BUFFERS
from diffsynth.synthesis.gain_voice import GainVoice
from diffsynth.synthesis.onnx_step import OnnxStep
from diffsynth.synthesis.rendering import render_timed
from diffsynth.synthesis.synthesizer import NO_EVENTS, WARM_UP, Synthesizer
from diffsynth.synthesis.voice import DIFFUSION
from diffsynth.synthesis.voice_files import VoiceFile
from diffsynth.synthesis.weights import load_voice

OWN_CODE = ("audio", "diffusion", "midi", "models", "piano", "representation", "synthesis")
NO_TIMES = np.zeros(0)


@dataclass(frozen=True)
class Played:
    """How a performance was rendered.

    Attributes:
        spent: seconds of wall clock.
        clipped: samples at full scale.
        blocks: seconds that each block took; none where there are no blocks.
    """

    spent: float
    clipped: int
    blocks: NDArray[np.float64]


class System(ABC):
    """One system.

    Attributes:
        kind: what it is, for the table.
        code: parts of the library that decide what it renders.
        model: its name.
        block: samples of a block; None if it has none.
        competes: whether it is compared with others, and not shown beside them.
        latency_ms: from a key to the sound card; None if it does not play live.
    """

    kind: ClassVar[str]
    code: ClassVar[Sequence[str]] = ()
    model: str
    block: int | None = None
    competes: bool = True
    latency_ms: float | None = None

    @property
    def key(self) -> str:
        """Its folder, and its name in the report."""
        return self.model if self.block is None else f"{self.model}-{self.block}"

    @abstractmethod
    def origin(self) -> dict[str, Any]:
        """What it is made of, as JSON: two with the same are one."""

    @abstractmethod
    def play(self, piece: Piece, wav: Path) -> Played:
        """Render a performance into a file that does not exist yet.

        Raises:
            UserError: it cannot.
        """


@dataclass(frozen=True)
class Playing:
    """How voices play.

    Attributes:
        seed: of their noise.
        steps: of the sampler; a voice that takes one only plays with one.
        backend: what computes their networks, one of `BACKENDS`.
    """

    seed: int = 0
    steps: int = 1
    backend: str = BACKENDS[0]


class OwnVoice(System):
    """A voice of this project, block by block on one thread.

    Args:
        model: its name; unless PyTorch plays it, the backend is added.
        file: of the voice.
        playing: how it plays.

    Raises:
        UserError: it is no voice, or the backend is missing.
    """

    kind, code = "voice", OWN_CODE

    def __init__(self, model: str, file: VoiceFile, playing: Playing) -> None:
        plain = playing.backend == BACKENDS[0]
        self.model = model if plain else f"{model}-{playing.backend}"
        voice = load_voice(file.path)
        if voice.config.objective != DIFFUSION:
            playing = replace(playing, steps=1)
        self.file, self.playing = file, playing
        network = None if plain else OnnxStep.of(voice, playing.steps)
        self._synthesizer = Synthesizer(voice, playing.steps, playing.seed, network)
        self.voice, self.block, self.rate = (
            self._synthesizer.voice,
            self._synthesizer.block,
            self._synthesizer.rate,
        )
        self.channels = self._synthesizer.channels
        self.latency_ms = (1 + BUFFERS) * self._synthesizer.latency["total_ms"]
        self._warm = False

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return sha256(self.file.path)

    def origin(self) -> dict[str, Any]:
        """See `System`."""
        return {"voice": str(self.file), "sha256": self.digest, **asdict(self.playing)}

    def play(self, piece: Piece, wav: Path) -> Played:
        """See `System`."""
        for _ in range(0 if self._warm else WARM_UP):
            self._synthesizer.process(NO_EVENTS)
        self._warm = True
        audio, blocks = render_timed(self._synthesizer, piece.events(), piece.end)
        return _written(wav, audio, self.rate, float(blocks.sum()), blocks)


class PianoAlone(System):
    """The fitted piano of a voice, without what a network has learned."""

    kind, code, competes = "piano", OWN_CODE, False

    def __init__(self, model: str, voice: GainVoice) -> None:
        self.model, self._voice, self._digest = model, voice, piano_digest(voice)

    def origin(self) -> dict[str, Any]:
        """See `System`."""
        return {"piano": self._digest}

    def play(self, piece: Piece, wav: Path) -> Played:
        """See `System`."""
        field, rate = self._voice.field(), self._voice.config.audio.sample_rate
        events, begin = to_samples(piece.events(), rate), time.perf_counter()
        audio = play_alone(int(piece.end * rate), events, self._voice.piano, field)
        return _written(wav, audio, rate, time.perf_counter() - begin)


class SoundFont(System):
    """FluidSynth, without reverb and chorus.

    Raises:
        UserError: FluidSynth or the SoundFont is missing.
    """

    kind, code, model = "soundfont", ("audio", "datasets/soundfont.py", "midi"), "fluidsynth"

    def __init__(self, path: Path) -> None:
        check(path)
        self._path = path

    @cached_property
    def _digest(self) -> str:
        return sha256(self._path)

    def origin(self) -> dict[str, Any]:
        """See `System`."""
        return {"soundfont": str(self._path), "sha256": self._digest}

    def play(self, piece: Piece, wav: Path) -> Played:
        """See `System`."""
        begin = time.perf_counter()
        audio = render_soundfont(piece.events(), self._path, RENDER_RATE, channels=2)
        return _written(wav, audio, RENDER_RATE, time.perf_counter() - begin)


def pianos_of(voices: Sequence[OwnVoice]) -> list[PianoAlone]:
    """The pianos of voices, each once: `excitation` is that of the first, others are named after a voice."""
    found: dict[str, PianoAlone] = {}
    for own in voices:
        if isinstance(own.voice, GainVoice):
            name = f"{EXCITATION}-of-{own.key}" if found else EXCITATION
            found.setdefault(piano_digest(own.voice), PianoAlone(name, own.voice))
    return list(found.values())


def piano_digest(voice: GainVoice) -> str:
    """Hash of a piano and of the format in which it plays."""
    content = hashlib.sha256(repr(voice.config.audio).encode())
    for name, array in sorted(voice.piano.tensors().items()):
        content.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def _written(
    wav: Path, audio: Audio, rate: int, spent: float, blocks: NDArray[np.float64] = NO_TIMES
) -> Played:
    write_audio(wav, audio, rate)
    return Played(spent, clipped(np.clip(audio, -1.0, 1.0)), blocks)
