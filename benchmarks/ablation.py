"""What each ingredient of a voice brings: the excitation built up step by step, then what is learned.

    python benchmarks/ablation.py FOLDER_OF_MIDI [--aligned data/aligned] [--voices models/512/*.safetensors]

Fits a piano to the aligned training split once for every ingredient, plays every MIDI file of the folder
with it, nothing learned, 30 s from second 5, and compares with FluidSynth as `benchmarks/performances.py`
does. A run that was interrupted goes on after the pianos that it has kept: where parameters, data or code
have changed since, their folder has to be emptied. Then come voices that were trained on top of the last
piano. The last row is what the metrics themselves can tell: the reference against itself, played later by
half of the 64 samples between two moments when FluidSynth takes events, and moved back. Where `fit.jitter`
is 0, the row of scattering moments is the one before it.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # results and cores: see diffsynth.runs.parallel

import numpy as np
from performances import FROM, METRICS, SECONDS, play_voice

from diffsynth.audio.files import Audio
from diffsynth.audio.format import AudioFormat
from diffsynth.datasets.soundfont import GRID, RENDER_RATE, render_soundfont
from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.registry import evaluate_pair
from diffsynth.fitting import fit, matrix_pencil
from diffsynth.fitting.config import Fit
from diffsynth.fitting.excerpts import read_takes
from diffsynth.fitting.tuning import Tuning
from diffsynth.midi.events import KEYS, Events, to_samples
from diffsynth.midi.files import read_midi
from diffsynth.midi.pitches import equal_tempered
from diffsynth.piano.piano import Piano, load_piano, save_piano
from diffsynth.piano.playing import play_whole
from diffsynth.runs.parallel import parallel_map
from pipeline.params import load_params

SHOWN = (*METRICS, "log_spectral_distance", "level_difference_db")
SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"


def unchanged(piano: Piano, *_: object) -> Piano:
    """In place of a step that would improve a piano."""
    return piano


HARMONIC = Tuning(equal_tempered(np.arange(KEYS)), np.full(KEYS, 1e-9))
# What is switched off, in the order in which it is switched on; without "phases" they are random.
OFF = {
    "tuning": lambda: patch.object(fit, "measure_tuning", lambda _: HARMONIC),
    "phases": ExitStack,
    "modes": lambda: patch.object(matrix_pencil, "MAX_MODES", 1),
    "attacks": lambda: patch.object(fit, "add_attacks", unchanged),
    "joint": lambda: patch.multiple(fit, refine=unchanged, fill_unheard=unchanged),
    "voices": lambda: patch.object(fit, "find_sampled", unchanged),
    "aftersound": lambda: patch.object(fit, "add_aftersound", unchanged),
}
ROWS = {
    "multiples of equal temperament, one decay each": (),
    "+ tuning and stiffness of the strings": ("tuning",),
    "+ phases": ("tuning", "phases"),
    "+ up to three modes per partial": ("tuning", "phases", "modes"),
    "+ attacks": ("tuning", "phases", "modes", "attacks"),
    "+ joint least squares": ("tuning", "phases", "modes", "attacks", "joint"),
    "+ strikes as sampled voices": (
        "tuning",
        "phases",
        "modes",
        "attacks",
        "joint",
        "voices",
    ),
    "+ aftersound": ("tuning", "phases", "modes", "attacks", "joint", "voices", "aftersound"),
    "+ scatter of moments": (*OFF, "scatter"),
}
ITSELF = "the reference, half a step later"


@dataclass(frozen=True)
class Job:
    """One file through a piano or a voice; neither for the reference itself."""

    midi: Path
    label: str
    piano: Path | None = None
    voice: Path | None = None
    steps: int = 1


def fit_variant(recordings: list, config: Fit, on: tuple[str, ...]) -> Piano:
    """A piano with some of the ingredients."""
    with ExitStack() as stack:
        for name, off in OFF.items():
            if name not in on:
                stack.enter_context(off())
        piano = fit.fit_piano(recordings, config if "scatter" in on else replace(config, jitter=0.0))
    if "phases" in on:
        return piano
    turns = np.exp(2j * np.pi * np.random.default_rng(0).random(len(piano.key)))
    return replace(piano, amplitude=piano.amplitude * turns)


def play(job: Job, events: Events, rate: int, frame: int) -> Audio:
    """What is compared with the reference."""
    if job.voice is not None:
        return play_voice(job.voice, events, job.steps)
    if job.piano is not None:
        length = round((events["time"][-1] + 3.0) * rate)
        return play_whole(load_piano(job.piano), to_samples(events, rate), rate, frame, length)
    late = events.copy()
    late["time"] += GRID / 2 / RENDER_RATE
    return render_soundfont(late, SOUNDFONT, rate)[round(GRID / 2 * rate / RENDER_RATE) :]


def score(job: Job, rate: int, frame: int) -> dict[str, float]:
    """Metrics of one job."""
    events = read_midi(job.midi)
    events = events[events["time"] < FROM + SECONDS]
    span = slice(round(FROM * rate), round((FROM + SECONDS) * rate))
    target, prediction = render_soundfont(events, SOUNDFONT, rate), play(job, events, rate, frame)
    return evaluate_pair(target[span], prediction[span], rate, Evaluate([1024, 2048, 4096], 0.05, 50.0))


def variants(given: argparse.Namespace, folder: Path) -> Iterator[Job]:
    """All jobs but for the files that they play; fits the pianos into a folder."""
    params = load_params(given.params)
    recordings = read_takes(given.aligned, params.fit.minutes)
    for number, (label, on) in enumerate(ROWS.items()):
        path = folder / f"{number}.safetensors"
        if not path.exists():
            save_piano(path, fit_variant(recordings, params.fit, on))
        yield Job(Path(), label, piano=path)
    for voice in given.voices:
        for steps in given.steps:
            name = f"+ learned gains, {voice.stem} at {voice.parent.name}, {steps} steps"
            yield Job(Path(), name, voice=voice, steps=steps)
    yield Job(Path(), ITSELF)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="of MIDI files")
    parser.add_argument("--aligned", type=Path, default=Path("data/aligned"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--voices", type=Path, nargs="*", default=[])
    parser.add_argument("--steps", type=int, nargs="+", default=[1], help="of the sampler")
    kept = "where pianos are kept; to be emptied when anything changes"
    parser.add_argument("--pianos", type=Path, default=Path("results/ablation"), help=kept)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    compare(list(variants(given, given.pianos)), given.folder, load_params(given.params).audio, given.workers)


def compare(rows: list[Job], folder: Path, audio: AudioFormat, workers: int) -> None:
    """Play every MIDI file of a folder in every row; print the means of each row."""
    files = sorted(folder.glob("*.mid"))
    jobs = [replace(row, midi=midi) for row in rows for midi in files]
    work = partial(score, rate=audio.sample_rate, frame=audio.frame)
    scores = list(parallel_map(work, jobs, workers, "ablation"))
    print("| | " + " | ".join(name.replace("_", " ") for name in SHOWN) + " |")
    print("|---" * (len(SHOWN) + 1) + "|")
    for row in rows:
        mine = [values for job, values in zip(jobs, scores, strict=True) if job.label == row.label]
        means = [f"{np.mean([values[name] for values in mine]):.3f}" for name in SHOWN]
        print(f"| {row.label} | " + " | ".join(means) + " |")


if __name__ == "__main__":
    main()
