"""Pictures and sound of three passages that nothing was trained on: a soft, a dense and a low one.

    python benchmarks/passages.py FOLDER_OF_MIDI VOICE.safetensors OUT

Of all windows of eight seconds in which something happens, takes the softest, the one with most onsets
and the lowest, plays each through FluidSynth and through the voice, from the beginning of the piece so that
pedals are where they belong, and writes OUT/soft.png, dense.png and low.png, target above prediction.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from performance_statistics import windows

from diffsynth.datasets.soundfont import render_soundfont
from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.figures import save_figure, spectrogram_figure
from diffsynth.evaluation.registry import evaluate_pair
from diffsynth.midi.events import Events
from diffsynth.midi.files import read_midi
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.weights import load_voice

SECONDS = 8.0
BUSY = 2.0  # onsets per second, at least
SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
# What is sought is the window with the most of it.
KINDS = {
    "soft": lambda of: -of["velocity"],
    "dense": lambda of: of["onset_rate"],
    "low": lambda of: -of["key_highest"],
}


@dataclass(frozen=True)
class Passage:
    """Eight seconds of a piece, from `begin` in s."""

    piece: str
    events: Events
    begin: float


def find(pieces: dict[str, Events], kind: str) -> Passage:
    """The window of all pieces that has most of something."""
    best: tuple[float, str, int] | None = None
    for name, events in pieces.items():
        of = windows(events, SECONDS)
        worth = np.where(of["onset_rate"] >= BUSY, KINDS[kind](of), -np.inf)
        at = int(np.nanargmax(worth))
        if best is None or worth[at] > best[0]:
            best = float(worth[at]), name, at
    assert best is not None
    _, name, at = best
    return Passage(name, pieces[name], at * SECONDS)


def main() -> None:
    """Write the pictures and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("voice", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    voice = load_voice(given.voice)
    rate, label = voice.config.audio.sample_rate, f"{voice.config.model} at {voice.config.block}"
    pieces = {path.stem: read_midi(path) for path in sorted(given.folder.glob("*.mid"))}
    for kind in KINDS:
        passage = find(pieces, kind)
        end = passage.begin + SECONDS
        events = passage.events[passage.events["time"] < end]
        span = slice(round(passage.begin * rate), round(end * rate))
        target = render_soundfont(events, SOUNDFONT, rate)[span]
        prediction = render(Synthesizer(voice), events)[span]
        scores = evaluate_pair(target, prediction, rate, Evaluate([1024, 2048, 4096], 0.05, 50.0))
        title = f"{kind}: {passage.piece.replace('_', ' ')}, {passage.begin:g} to {end:g} s, {label}"
        save_figure(given.out / f"{kind}.png", spectrogram_figure(target, prediction, rate, title, scores))
        print(title, {name: round(value, 3) for name, value in scores.items()})


if __name__ == "__main__":
    main()
