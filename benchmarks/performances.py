"""Quality on performances that nothing was trained on, against the SoundFont that the voices learned.

    python benchmarks/performances.py FOLDER [--models lstm s6] [--blocks 512 4096] [--whole] [--snap]

Plays every MIDI file of FOLDER through FluidSynth (the reference) and through the released voices,
and prints the mean of every metric of `diffsynth.evaluation.metrics` for each voice: over 30 s from
second 5 of each file, or over whole pieces from silence with `--whole`. The row "excitation" is the
modal piano of the first voice with nothing learned on top: what the network adds is the difference.
"""

import argparse
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # results and cores: see diffsynth.runs.parallel

import numpy as np

from diffsynth.audio.files import Audio
from diffsynth.datasets.instrument import Instrument
from diffsynth.datasets.soundfont import GAIN, render_soundfont, snap
from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.registry import evaluate_pair
from diffsynth.midi.events import Events, to_samples
from diffsynth.midi.files import read_midi
from diffsynth.piano.playing import play_whole
from diffsynth.runs.parallel import parallel_map
from diffsynth.synthesis.config import RELEASED_VOICE
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.weights import load_voice

FROM, SECONDS = 5.0, 30.0
METRICS = ("onset_f1", "pitch_accuracy", "polyphony_accuracy", "spectral_convergence")
LARGEST = ("level_difference_db", "border_step", "border_roughness")
SHOWN = (*METRICS, "log_spectral_distance", *LARGEST)
EXCITATION = "excitation"


@dataclass(frozen=True)
class Job:
    """One file through one voice, or through its excitation alone."""

    midi: Path
    weights: Path
    label: str
    steps: int


def play_voice(weights: Path, events: Events, steps: int) -> Audio:
    """What a voice makes of the events."""
    import torch

    torch.set_num_threads(1)
    return render(Synthesizer(load_voice(weights), steps), events)


def play(job: Job, events: Events) -> tuple[Audio, int, int]:
    """What a voice, or its excitation, makes of the events, its sample rate and its block."""
    voice = load_voice(job.weights)
    rate, block = voice.config.audio.sample_rate, voice.config.block
    if job.label != EXCITATION:
        return play_voice(job.weights, events, job.steps), rate, block
    length, frame = round((events["time"][-1] + 3.0) * rate), voice.config.audio.frame
    return play_whole(voice.piano, to_samples(events, rate), rate, frame, length), rate, block


def score(job: Job, instrument: Instrument, seconds: float | None, snapped: bool) -> dict[str, float]:
    """Metrics of one job, of the whole piece or of some seconds."""
    events = snap(read_midi(job.midi)) if snapped else read_midi(job.midi)
    begin, end = (0.0, None) if seconds is None else (FROM, FROM + seconds)
    if end is not None:
        events = events[events["time"] < end]
    prediction, rate, block = play(job, events)
    target = render_soundfont(events, instrument.path, rate, instrument.program, instrument.gain)
    span = slice(round(begin * rate), None if end is None else round(end * rate))
    row = evaluate_pair(target[span], prediction[span], rate, Evaluate([1024, 2048, 4096], 0.05, 50.0))
    return row | borders(target, prediction, block)


def borders(target: Audio, prediction: Audio, block: int) -> dict[str, float]:
    """Steps and second differences of the prediction at the borders of its blocks."""
    at = np.arange(block, len(prediction) - 1, block)
    step, bend = np.diff(prediction), np.diff(prediction, 2)
    loudest = float(np.abs(np.diff(target)).max())
    near = np.concatenate([bend[at - 2], bend[at - 1]])  # the two that reach over the border
    return {
        "border_step": float(np.abs(step[at - 1]).max()) / loudest,
        "border_roughness": float(np.sqrt(np.mean(near**2) / np.mean(bend**2))),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="of MIDI files")
    parser.add_argument("--weights", type=Path, default=Path("weights") / RELEASED_VOICE)
    parser.add_argument("--models", nargs="+", default=["lstm", "s6"])
    parser.add_argument("--blocks", nargs="+", type=int, default=[512, 1024, 2048, 4096])
    parser.add_argument("--soundfont", default="/usr/share/sounds/sf2/FluidR3_GM.sf2")
    parser.add_argument("--program", type=int, default=0, help="of General MIDI, that the voices learned")
    parser.add_argument("--gain", type=float, default=GAIN, help="of FluidSynth")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="from second 5 of each file")
    parser.add_argument("--steps", type=int, default=1, help="of the sampler")
    parser.add_argument("--whole", action="store_true", help="whole pieces instead of 30 s from second 5")
    parser.add_argument("--snap", action="store_true", help="events moved to the grid of FluidSynth first")
    parser.add_argument("--pieces", action="store_true", help="a row for every file, too")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    files = sorted(given.folder.glob("*.mid"))
    variants = [(model, block) for model in given.models for block in given.blocks]
    voices = [(f"{m}-{b}", given.weights / str(b) / f"{m}.safetensors") for m, b in variants]
    if given.models[0] != "unet":  # which has no modes
        voices.insert(0, (EXCITATION, voices[0][1]))
    jobs = [Job(midi, weights, label, given.steps) for label, weights in voices for midi in files]
    instrument = Instrument(given.soundfont, given.program, gain=given.gain)
    seconds = None if given.whole else given.seconds
    work = partial(score, instrument=instrument, seconds=seconds, snapped=given.snap)
    scores = list(parallel_map(work, jobs, given.workers, "performances"))
    print("| | " + " | ".join(name.replace("_", " ") for name in SHOWN) + " |")
    print("|---" * (len(SHOWN) + 1) + "|")
    for label, _ in voices:
        mine = [(job, row) for job, row in zip(jobs, scores, strict=True) if job.label == label]
        if given.pieces:
            for job, row in mine:
                print_row(f"{label} {job.midi.stem}", [row])
        print_row(label, [row for _, row in mine])


def print_row(label: str, rows: list[dict[str, float]]) -> None:
    """One line of the table: means, but the largest level difference."""
    means = {name: np.mean([row[name] for row in rows]) for name in SHOWN}
    means |= {name: max(row[name] for row in rows) for name in LARGEST}
    print(f"| {label} | " + " | ".join(f"{means[name]:.3f}" for name in SHOWN) + " |", flush=True)


if __name__ == "__main__":
    main()
