"""Quality on performances that nothing was trained on, against the instrument that the voices learned.

    python benchmarks/performances.py FOLDER [--instrument instruments/salamander/salamander.sfz]
        [--gain 0.95] [--weights weights/grand] [--models lstm s6] [--blocks 512 4096]
        [--seconds 40] [--whole] [--pieces]

Plays every MIDI file of FOLDER through the SFZ or SoundFont (the reference), and through the voices, and
prints the mean of the metrics of `diffsynth evaluate` for each voice, of channels the mean: over 40 s
from second 5 of each file, or over whole pieces from silence with `--whole`. The row "excitation" is the
modal piano of the first voice with nothing learned on top: what the network adds is the difference.
`--of NAME=SOUNDFONT` adds another instrument. `diffsynth salamander` brings the default instrument.
"""

import argparse
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # results and cores: see diffsynth.runs.parallel

import numpy as np

from diffsynth.audio.channels import mixed
from diffsynth.audio.files import Audio
from diffsynth.datasets.instrument import Instrument
from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.pair import Pair
from diffsynth.evaluation.registry import measure
from diffsynth.midi.events import Events, to_samples
from diffsynth.midi.files import read_midi
from diffsynth.piano.playing import play_whole
from diffsynth.runs.parallel import parallel_map
from diffsynth.synthesis.config import RELEASED_VOICE
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.weights import load_voice

FROM, SECONDS = 5.0, 40.0  # s
SETTINGS = Evaluate([1024, 2048, 4096], 0.05, 50.0)
MEANS = ("log_mel_db", "spectral_convergence", "log_spectral_distance", "onset_f1", "pitch_accuracy")
MEANS += ("polyphony_accuracy", "zimtohrli", "jumps_per_minute", "quiet_floor_db", "image_difference_db")
LARGEST = ("level_difference_db", "border_step", "border_roughness")
EXCITATION = "excitation"


@dataclass(frozen=True)
class Span:
    """What is measured of a piece: from `begin` to `end` in s, or to the end of it."""

    begin: float
    end: float | None
    snap: bool

    def events(self, midi: Path, instrument: Instrument) -> Events:
        """What is played."""
        events = instrument.snap(read_midi(midi)) if self.snap else read_midi(midi)
        return events if self.end is None else events[events["time"] < self.end]

    def samples(self, rate: int) -> slice:
        """Where it lies in what is played."""
        return slice(round(self.begin * rate), None if self.end is None else round(self.end * rate))


@dataclass(frozen=True)
class Job:
    """One file through a voice, or through its excitation alone, or through another instrument."""

    midi: Path
    label: str
    weights: Path
    steps: int = 1
    other: Instrument | None = None

    def play(self, events: Events) -> Audio:
        """[time] or [time, c] at the rate of the voice."""
        if self.other is not None:
            return self.other.play(events)
        voice = load_voice(self.weights)
        if self.label != EXCITATION:
            return render(Synthesizer(voice, self.steps), events)
        audio = voice.config.audio
        length = round((events["time"][-1] + 3.0) * audio.sample_rate)
        return play_whole(
            voice.piano, to_samples(events, audio.sample_rate), audio.sample_rate, audio.frame, length
        )


def reference(midi: Path, instrument: Instrument, span: Span, folder: Path) -> None:
    """Have the instrument play a file, and keep it."""
    np.save(folder / f"{midi.stem}.npy", instrument.play(span.events(midi, instrument)))


def score(job: Job, instrument: Instrument, span: Span, folder: Path) -> dict[str, float]:
    """Metrics of one job."""
    import torch

    torch.set_num_threads(1)
    rate = instrument.sample_rate
    target = np.load(folder / f"{job.midi.stem}.npy")
    prediction = job.play(span.events(job.midi, instrument))
    of = span.samples(rate)
    row = measure(Pair(target[of], prediction[of], rate, SETTINGS))
    return row | borders(mixed(target), mixed(prediction), load_voice(job.weights).config.block)


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


def jobs_of(given: argparse.Namespace, files: list[Path], instrument: Instrument) -> list[Job]:
    """What is played, row by row of the table."""
    voices = [
        (f"{m}-{b}", given.weights / str(b) / f"{m}.safetensors") for m in given.models for b in given.blocks
    ]
    first = voices[0][1]
    if given.models[0] != "unet":  # which has no modes
        voices.insert(0, (EXCITATION, first))
    others = [pair.partition("=") for pair in given.of]
    jobs = [Job(midi, label, weights, given.steps) for label, weights in voices for midi in files]
    for label, _, path in others:
        jobs += [Job(midi, label, first, other=replace(instrument, path=path, gain=1.0)) for midi in files]
    return jobs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="of MIDI files")
    parser.add_argument(
        "--instrument", default="instruments/salamander/salamander.sfz", help="that the voices learned"
    )
    parser.add_argument("--program", type=int, default=0, help="of General MIDI, if it is a SoundFont")
    parser.add_argument("--gain", type=float, default=0.95, help="of it")
    parser.add_argument("--weights", type=Path, default=Path("weights") / RELEASED_VOICE)
    parser.add_argument("--models", nargs="*", default=["lstm", "s6"])
    parser.add_argument("--blocks", nargs="+", type=int, default=[512, 1024, 2048, 4096])
    parser.add_argument(
        "--of", action="append", default=[], metavar="NAME=SOUNDFONT", help="another instrument"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="from second 5 of each file")
    parser.add_argument("--steps", type=int, default=1, help="of the sampler")
    parser.add_argument("--whole", action="store_true", help="whole pieces instead")
    parser.add_argument(
        "--snap", action="store_true", help="events moved to the grid of the instrument first"
    )
    parser.add_argument("--pieces", action="store_true", help="a row for every file, too")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    files = sorted(given.folder.glob("*.mid"))
    audio = load_voice(given.weights / str(given.blocks[0]) / f"{given.models[0]}.safetensors").config.audio
    instrument = Instrument(given.instrument, given.program, audio.sample_rate, given.gain, audio.channels)
    span = Span(0.0, None, given.snap) if given.whole else Span(FROM, FROM + given.seconds, given.snap)
    jobs = jobs_of(given, files, instrument)
    with TemporaryDirectory() as folder:
        options = {"instrument": instrument, "span": span, "folder": Path(folder)}
        list(parallel_map(partial(reference, **options), files, given.workers, "reference"))
        scores = list(parallel_map(partial(score, **options), jobs, given.workers, "voices"))
    print_table(jobs, scores, given.pieces)


def print_table(jobs: list[Job], scores: list[dict[str, float]], pieces: bool) -> None:
    """A row for each system, and before it one for each of its pieces if wanted."""
    shown = [name for name in (*MEANS, *LARGEST) if name in scores[0]]
    print("| | " + " | ".join(name.replace("_", " ") for name in shown) + " |")
    print("|---" * (len(shown) + 1) + "|")
    for label in dict.fromkeys(job.label for job in jobs):
        mine = [(job, row) for job, row in zip(jobs, scores, strict=True) if job.label == label]
        for job, row in mine if pieces else []:
            print_row(f"{label} {job.midi.stem}", [row], shown)
        print_row(label, [row for _, row in mine], shown)


def print_row(label: str, rows: list[dict[str, float]], shown: list[str]) -> None:
    """One line of the table: means, but the largest level difference and border."""
    of = {name: max if name in LARGEST else np.mean for name in shown}
    values = [f"{of[name]([row[name] for row in rows]):.4g}" for name in shown]
    print(f"| {label} | " + " | ".join(values) + " |", flush=True)


if __name__ == "__main__":
    main()
