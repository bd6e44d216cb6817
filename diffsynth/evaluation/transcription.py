"""Transkun, which writes down the notes that it hears in piano music. An optional extra, `transcription`.

Source: https://github.com/Yujia-Yan/Transkun (Yan and Duan, "Scoring intervals using non-hierarchical
transformer for automatic piano transcription", ISMIR 2024). Its weights are part of its package. It hears
key releases and pedals apart, as events have them, and no levels: it brings everything to one of its own. It
hears everything twice, in windows of 16 s every 8 s, which takes 2 to 3.5 s of a core per second of audio.
"""

import io
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import resources
from importlib.util import find_spec
from typing import Any

import numpy as np
import soxr

from diffsynth.audio.channels import mixed
from diffsynth.errors import UserError, to_install
from diffsynth.evaluation.metrics import Array
from diffsynth.evaluation.notes import match_notes
from diffsynth.evaluation.pair import Pair
from diffsynth.midi.events import (
    CONTROL,
    NOTE_OFF,
    NOTE_ON,
    SUSTAIN,
    UNA_CORDA,
    Events,
    make_events,
    to_samples,
)
from diffsynth.midi.strikes import soundings

PACKAGE = "transkun"
VERSION = "2.0"  # of its weights
WINDOW = 16.0  # s; with shorter ones it misses half of the notes
HOP = 8.0  # s; what it was made for
PEDALS = {-SUSTAIN: SUSTAIN, -UNA_CORDA: UNA_CORDA}  # its pitches of pedals

Transcribe = Callable[[Array, int], Events]  # of samples, [time], and their rate in Hz


def transcriber(hop: float = HOP) -> Transcribe:
    """Load the network; what is returned writes down the notes and pedals of a signal.

    Args:
        hop: s from one window to the next; 16 are enough for a signal of at most 16 s.

    Raises:
        UserError: the package is not installed.
    """
    if find_spec(PACKAGE) is None:
        raise UserError(f"transcription needs Transkun: {to_install('transcription')}")
    with _quiet():
        network = _load()

    def transcribe(signal: Array, rate: int) -> Events:
        import torch

        samples = soxr.resample(signal.astype(np.float32), rate, network.fs, quality="HQ")
        with _quiet(), torch.inference_mode():
            notes = network.transcribe(torch.from_numpy(samples[:, None]), hop, WINDOW)
        return _events(notes)

    return transcribe


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


def _events(notes: list[Any]) -> Events:
    """Its notes, of which some are pedals, as events."""
    rows = []
    for note in notes:
        if note.pitch in PEDALS:
            number = PEDALS[note.pitch]
            rows += [(note.start, CONTROL, number, 127), (note.end, CONTROL, number, 0)]
        else:
            # A velocity of 0 would be a release.
            rows.append((note.start, NOTE_ON, note.pitch, max(1, note.velocity)))
            rows.append((note.end, NOTE_OFF, note.pitch, 0))
    return make_events(rows)


def listen(pair: Pair, events: Events, transcribe: Transcribe) -> None:
    """Find out which notes that are heard in a prediction were played.

    Args:
        pair: target and prediction; gets its `notes`.
        events: what was played, with `time` in s from the start of the target.
        transcribe: what writes down notes.
    """
    heard = transcribe(mixed(pair.prediction), pair.rate)
    length = len(pair.prediction)
    played, found = (soundings(to_samples(each, pair.rate), length) for each in (events, heard))
    pair.notes = match_notes(played, found, pair.rate)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the package warns of and prints."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
