"""Many performances through a SoundFont, in several processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffsynth.audio.files import clipped, write_audio
from diffsynth.datasets.folder import MIDI_SUFFIXES, check_title, find_files
from diffsynth.datasets.manifest import Performance, SetAside, describe, require_some
from diffsynth.datasets.soundfont import GAIN, GRID_RESOLUTION, GRID_TEMPO, check, render_soundfont, snap
from diffsynth.datasets.splits import assign_splits, safe_names
from diffsynth.errors import UserError, printable
from diffsynth.midi.events import Events
from diffsynth.midi.files import read_midi, write_midi
from diffsynth.runs.parallel import parallel_map

LONGEST = 24.0  # hours of a performance; what claims to be longer is a broken file, and would fill the memory


@dataclass(frozen=True)
class Job:
    """A performance to render."""

    name: str
    split: str
    events: Events
    title: str = ""


@dataclass(frozen=True)
class Instrument:
    """What plays: a SoundFont's path, the General MIDI program in it, the output rate in Hz, a gain."""

    soundfont: str
    program: int = 0
    sample_rate: int = 24000
    gain: float = GAIN


def midi_jobs(
    root: Path,
    out: Path,
    validation: float,
    test: float,
    seed: int,
    say: Callable[[str], None] | None = None,
) -> tuple[list[Job], list[SetAside]]:
    """The MIDI files below a folder, by name, and those that cannot be used.

    Args:
        root: folder, searched at any depth.
        out: folder below it that is left out.
        validation: share of performances, as is `test`.
        test: see `validation`.
        seed: of the division into splits.
        say: takes one line for each file of which something is not played.

    Raises:
        UserError: there is no such folder, or no usable file in it.
    """
    performances, set_aside = {}, []
    for title, paths in find_files(root, MIDI_SUFFIXES, out.resolve()).items():
        try:
            check_title(title)
            performances[title] = _short_enough(read_midi(paths[0], say=say))
        except UserError as error:
            set_aside.append(SetAside(printable(title), str(error)))
    require_some(performances, set_aside, root, "MIDI file")
    titles = list(performances)
    splits = assign_splits(titles, validation, test, seed)
    jobs = [
        Job(name, split, performances[title], title)
        for title, name, split in zip(titles, safe_names(titles), splits, strict=True)
    ]
    return sorted(jobs, key=lambda job: job.name), set_aside


def _short_enough(events: Events) -> Events:
    """Events that are over within a day.

    Raises:
        UserError: they are not.
    """
    hours = float(events["time"].max(initial=0)) / 3600
    if hours > LONGEST:
        raise UserError(f"it lasts {hours:.0f} hours, and what is rendered may last {LONGEST:.0f}")
    return events


def render_all(
    jobs: Sequence[Job], folder: Path, instrument: Instrument, workers: int = 1, progress: bool = True
) -> list[Performance]:
    """Write `<name>.mid` and `<name>.flac` for every job; the result does not depend on `workers`.

    Raises:
        UserError: FluidSynth, the SoundFont or the program in it is missing.
    """
    check(instrument.soundfont, instrument.program)
    tasks = [(job, folder, instrument) for job in jobs]
    return list(parallel_map(_render, tasks, workers, "rendering", progress))


def _render(task: tuple[Job, Path, Instrument]) -> Performance:
    job, folder, instrument = task
    events = snap(job.events)
    rate, program, gain = instrument.sample_rate, instrument.program, instrument.gain
    audio = render_soundfont(events, instrument.soundfont, rate, program, gain)
    midi, flac = f"{job.name}.mid", f"{job.name}.flac"
    write_midi(folder / midi, events, GRID_RESOLUTION, GRID_TEMPO)
    write_audio(folder / flac, audio, instrument.sample_rate)
    return describe(folder, job.name, job.split, midi, flac, job.title, clipped(audio))
