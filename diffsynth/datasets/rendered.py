"""Many performances through a SoundFont or an SFZ, in several processes."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from diffsynth.audio.files import clipped, write_audio
from diffsynth.datasets.folder import MIDI_SUFFIXES, check_title, find_files
from diffsynth.datasets.instrument import Instrument
from diffsynth.datasets.manifest import Performance, SetAside, describe, require_some
from diffsynth.datasets.splits import assign_splits, safe_names
from diffsynth.errors import UserError, printable
from diffsynth.midi.events import Events
from diffsynth.midi.files import read_midi
from diffsynth.runs.parallel import parallel_map
from diffsynth.runs.resuming import make_stamp, recall, record

LONGEST = 24.0  # hours of a performance; what claims to be longer is a broken file, and would fill the memory
CODE = ("audio", "midi", "datasets")  # parts of the library that decide what a performance becomes
State = list[tuple[str, int, int]]  # of an instrument's files


@dataclass(frozen=True)
class Job:
    """A performance to render."""

    name: str
    split: str
    events: Events
    title: str = ""


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
    jobs: Sequence[Job],
    folder: Path,
    instrument: Instrument,
    workers: int = 1,
    progress: bool = True,
    resume: bool = False,
) -> list[Performance]:
    """Write `<name>.mid` and `<name>.flac` for every job; the result does not depend on `workers`.

    Args:
        jobs: what to render.
        folder: to write to.
        instrument: what plays.
        workers: number of processes. An SFZ has all its samples in the memory of each.
        progress: whether to show a bar.
        resume: leave records in the folder, and use those that an interrupted run has left
            (see `diffsynth.runs.resuming`).

    Raises:
        UserError: the instrument or what plays it is missing.
    """
    tasks = [(job, folder, instrument, instrument.state() if resume else None) for job in jobs]
    return list(parallel_map(_render, tasks, workers, "rendering", progress))


def files_of(performances: Sequence[Performance]) -> set[str]:
    """Names of what `render_all` wrote."""
    return {file for performance in performances for file in (performance.midi, performance.audio)}


def _render(task: tuple[Job, Path, Instrument, State | None]) -> Performance:
    """Render one job, unless an interrupted run has."""
    job, folder, instrument, state = task
    if state is None:
        return _rendered(job, folder, instrument)
    events = hashlib.sha256(job.events.tobytes()).hexdigest()
    stamp = make_stamp(CODE, job.name, job.split, job.title, events, asdict(instrument), state)
    known = recall(folder, job.name, stamp)
    if known is not None:
        return Performance(**known)
    performance = _rendered(job, folder, instrument)
    record(folder, job.name, stamp, asdict(performance), sorted(files_of([performance])))
    return performance


def _rendered(job: Job, folder: Path, instrument: Instrument) -> Performance:
    events = instrument.snap(job.events)
    audio = instrument.play(events)
    midi, flac = f"{job.name}.mid", f"{job.name}.flac"
    instrument.write_midi(folder / midi, events)
    write_audio(folder / flac, audio, instrument.sample_rate)
    return describe(folder, job.name, job.split, midi, flac, job.title, clipped(audio))
