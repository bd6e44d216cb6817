"""Transkun, which writes down the notes that it hears in piano music. An optional extra, `transcription`.

Source: https://github.com/Yujia-Yan/Transkun (Yan and Duan, "Scoring intervals using non-hierarchical
transformer for automatic piano transcription", ISMIR 2024). Its weights are part of its package. It hears
key releases and pedals apart, as events have them, and no levels: it brings everything to one of its own. It
hears everything twice, in windows of 16 s every 8 s, which takes 2 to 3.5 s of a core per second of audio.

Its own `transcribe` holds a recording and what it makes of it in memory as a whole. Here windows are read one
by one (`diffsynth.transcription.windows`), with the same result, so that recordings may be long.
"""

import io
import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cached_property
from importlib import resources
from importlib.util import find_spec
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from diffsynth.audio.files import Audio, Samples, padded
from diffsynth.errors import UserError, to_install
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, UNA_CORDA, Events, make_events
from diffsynth.transcription.intervals import onset_probabilities
from diffsynth.transcription.windows import Joined, Onsets

PACKAGE = "transkun"
VERSION = "2.0"  # of its weights
WINDOW = 16.0  # s; with shorter ones it misses half of the notes
HOP = 8.0  # s; what it was made for
PEDALS = {-SUSTAIN: SUSTAIN, -UNA_CORDA: UNA_CORDA}  # its pitches of pedals

# One note or, with a negative pitch, one pedal; `probability` that it begins there, by the network itself.
HEARD = np.dtype(
    [("onset", "<f8"), ("offset", "<f8"), ("pitch", "i2"), ("velocity", "u1"), ("probability", "<f8")]
)
Progress = Callable[[range], Iterable[int]]  # shows how far one is in the windows


class Transkun:
    """The network with its weights.

    Args:
        hop: s from one window to the next; 16 are enough for a signal of at most 16 s.
        window: s, a multiple of the hop.

    Raises:
        UserError: the package is not installed.
    """

    def __init__(self, hop: float = HOP, window: float = WINDOW) -> None:
        if find_spec(PACKAGE) is None:
            raise UserError(f"transcription needs Transkun: {to_install('transcription')}")
        self._hop, self._window = hop, window
        with quiet():
            self.network = _load()
        self._plain = self.network.processFramesBatch
        self.network.processFramesBatch = self._watched
        self._latest: NDArray[np.float32] | None = None

    @property
    def rate(self) -> int:
        """Hz, of the samples that it hears."""
        return int(self.network.fs)

    def __call__(self, signal: Audio, rate: int) -> Events:
        """The notes and pedals of a signal, [time], at `rate` Hz."""
        heard, _ = self.hear(soxr.resample(signal.astype(np.float32), rate, self.rate, quality="HQ"))
        return to_events(heard)

    def hear(self, samples: Samples, progress: Progress = iter) -> tuple[NDArray[np.void], Onsets]:
        """What is heard in mono samples at `rate`, read window by window, however many they are.

        Returns:
            `HEARD` rows by onset, and the probabilities of onsets at all times.
        """
        import torch

        joined = Joined()
        onsets = Onsets(self.network.targetMIDIPitch, self._frame)
        starts = [self._before // self.network.hopSize] * len(self.network.targetMIDIPitch)
        # Windows after the end would hold nothing.
        for number in progress(range(-(-(len(samples) + self._before) // self._step))):
            first = number * self._step - self._before
            with quiet(), torch.inference_mode():
                notes, ends = self._listen(padded(samples, first, self._length), starts)
            starts = [max(end - self._step // self.network.hopSize, 0) for end in ends]
            joined.add(notes, first / self.rate)
            if self._latest is not None:
                onsets.add(self._latest, first / self.rate)
        with quiet():
            notes = joined.finished()
        return _heard(notes, onsets), onsets

    @property
    def _frame(self) -> float:
        """Seconds from one frame to the next."""
        return float(self.network.hopSize / self.network.fs)

    @cached_property
    def _before(self) -> int:
        """Samples of silence before a signal and after it, so that all of it lies in as many windows."""
        return math.ceil((self._window - self._hop) * self.rate)

    @cached_property
    def _step(self) -> int:
        """Samples from one window to the next, whole frames."""
        return math.ceil(self._hop * self.rate / self.network.hopSize) * int(self.network.hopSize)

    @cached_property
    def _length(self) -> int:
        """Samples of a window."""
        return math.ceil(self._window * self.rate)

    def _listen(self, samples: Audio, starts: list[int]) -> tuple[list[Any], list[int]]:
        """Its notes in a window, with times from its start, and the frames at which those end."""
        import torch
        from transkun.Util import makeFrame

        network = self.network
        frames = makeFrame(torch.from_numpy(samples.copy())[None], network.hopSize, network.windowSize)
        last = round(self._length / network.hopSize)
        notes, ends = network.transcribeFrames(frames[None], forcedStartPos=starts, lastFrameIdx=last)
        return notes[0], ends

    def _watched(self, frames: Any) -> Any:
        """What the network makes of frames; keeps what it says of onsets."""
        found, context = self._plain(frames)
        self._latest = onset_probabilities(found.score.numpy(), found.noiseScore.numpy())
        return found, context


def to_events(heard: NDArray[np.void]) -> Events:
    """`HEARD` rows as events."""
    rows = []
    for onset, offset, pitch, velocity, _ in heard.tolist():
        if pitch in PEDALS:
            rows += [(onset, CONTROL, PEDALS[pitch], 127), (offset, CONTROL, PEDALS[pitch], 0)]
        else:
            rows += [(onset, NOTE_ON, pitch, velocity), (offset, NOTE_OFF, pitch, 0)]
    return make_events(rows)


def _heard(notes: list[Any], onsets: Onsets) -> NDArray[np.void]:
    rows = [
        # A velocity of 0 would be a release.
        (note.start, note.end, note.pitch, max(1, note.velocity), onsets.near(note.start, note.pitch))
        for note in notes
    ]
    return np.array(rows, dtype=HEARD)


def _load() -> Any:
    """The network with its weights, as the package's own command makes it."""
    import torch
    from transkun.ModelTransformer import Config, TransKun

    folder = resources.files(PACKAGE) / "pretrained"
    settings = Config()
    given = json.loads((folder / f"{VERSION}.conf").read_text(encoding="utf-8"))["Model"]["config"]
    for name, value in given.items():
        setattr(settings, name, value)
    with torch.random.fork_rng(devices=[]):  # weights are drawn before they are read
        network = TransKun(conf=settings)
    with (folder / f"{VERSION}.pt").open("rb") as file:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True)["state_dict"])
    return network.eval()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what the package warns of and prints."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
