"""Recordings in folders, and the MIDI file that is written beside each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from diffsynth.audio.files import Spool, stream_audio
from diffsynth.config import build
from diffsynth.datasets.folder import (
    AUDIO_SUFFIXES,
    MIDI_SUFFIXES,
    UNREADABLE_SUFFIXES,
    cannot_read,
    check_title,
    find_files,
)
from diffsynth.datasets.manifest import SetAside
from diffsynth.errors import UserError, printable
from diffsynth.midi.files import write_midi
from diffsynth.runs.files import atomic_path, check_writable, read_json, sha256, write_json
from diffsynth.runs.parallel import parallel_map
from diffsynth.runs.threads import threads as threads_of_sums
from diffsynth.transcription.confidence import Entry, Key, judge, keys_of
from diffsynth.transcription.transkun import Transkun, to_events

RECORD = ".transcription.json"  # beside NAME.mid: how far it can be trusted
RESOLUTION = 4800  # ticks of .1 ms at 120 beats a minute


@dataclass(frozen=True)
class Recording:
    """A recording to write down: its path without suffix, its file, and the MIDI file to write."""

    name: str
    audio: Path
    midi: Path

    @property
    def record(self) -> Path:
        """The file that says how far the MIDI file can be trusted."""
        return self.midi.with_name(self.midi.stem + RECORD)


@dataclass(frozen=True)
class Written:
    """The record of one MIDI file: what is known of its notes, of its keys, and its SHA-256."""

    entry: Entry
    keys: list[Key]
    midi_sha256: str


@dataclass(frozen=True)
class Found:
    """Recordings to write down, records of those that were, those with MIDI of their own, and the others."""

    todo: list[Recording]
    done: list[Written]
    own: list[str]
    set_aside: list[SetAside]


def find_recordings(places: Sequence[Path], out: Path | None = None, force: bool = False) -> Found:
    """Recordings in folders, at any depth, and single files, by whether they have MIDI.

    Args:
        places: folders and files.
        out: folder for the MIDI files; without it each goes beside its recording.
        force: take those with MIDI as well.

    Raises:
        UserError: a place does not exist, is no audio file, or two recordings would get one MIDI file.
    """
    found, targets = Found([], [], [], []), set()
    for place in places:
        labelled = _below(place, MIDI_SUFFIXES, out)
        for name, files in _audio_below(place, out).items():
            recording = Recording(name, files[0], (out or _root(place)) / f"{name}.mid")
            if recording.midi in targets:
                raise UserError(f"{recording.midi} would be written for two recordings: use two folders")
            targets.add(recording.midi)
            try:
                recording = replace(recording, audio=_only(name, files))
                _sort(found, recording, name in labelled, force)
            except UserError as error:
                found.set_aside.append(SetAside(printable(name), str(error)))
    return found


def transcribe_all(
    recordings: Sequence[Recording], workers: int, threads: int
) -> tuple[list[Written], list[SetAside]]:
    """Write a MIDI file for each recording, in so many processes with so many threads.

    Each file appears complete or not at all; those that an interrupted call has written stay.

    Returns:
        What is known of those that were written, and what could not be used, with the reason.

    Raises:
        UserError: Transkun is not installed, or a file cannot be written.
    """
    for recording in recordings:
        check_writable(recording.midi)
    alone = min(workers, len(recordings)) == 1
    job = partial(_transcribe, count=threads, progress=alone)
    written, set_aside = [], []
    for result in parallel_map(job, recordings, workers, "transcribing"):
        if isinstance(result, SetAside):
            set_aside.append(result)
        else:
            written.append(result)
    return written, set_aside


def _root(place: Path) -> Path:
    return place if place.is_dir() else place.parent


def _below(place: Path, suffixes: Sequence[str], out: Path | None) -> dict[str, list[Path]]:
    """Files with one of the suffixes in a folder, by path without suffix; for a file, those of its name."""
    if place.is_dir():
        found = find_files(place, suffixes)
        if out is None or place.resolve() not in out.resolve().parents:
            return found
        # What was written there is no input: its links lead here.
        written = f"{out.resolve().relative_to(place.resolve()).as_posix()}/"
        return {name: files for name, files in found.items() if not name.startswith(written)}
    near = [file for file in place.parent.iterdir() if file.stem == place.stem]
    same = [file for file in near if file.suffix.lower() in suffixes]
    return {place.stem: same} if same else {}


def _audio_below(place: Path, out: Path | None) -> dict[str, list[Path]]:
    """Audio files of a place by name, with those that cannot be read."""
    suffixes = AUDIO_SUFFIXES + UNREADABLE_SUFFIXES
    if place.is_dir():
        return _below(place, suffixes, out)
    if not place.is_file():
        raise UserError(f"{place} does not exist")
    if place.suffix.lower() not in suffixes:
        raise UserError(f"{place} is no audio file by its name")
    return {place.stem: [place]}


def _only(name: str, files: Sequence[Path]) -> Path:
    """The one file that can be read.

    Raises:
        UserError: there are several, or none, or the name is not UTF-8.
    """
    check_title(name)
    readable = [file for file in files if file.suffix.lower() in AUDIO_SUFFIXES]
    if not readable:
        raise UserError(cannot_read(files[0]))
    if len(readable) > 1:
        names = ", ".join(file.name for file in readable)
        raise UserError(f"several audio files of this name: {names}")
    return readable[0]


def _sort(found: Found, recording: Recording, labelled: bool, force: bool) -> None:
    """Put a recording where it belongs; `labelled`: there is MIDI beside it."""
    if force or not (labelled or recording.midi.exists()):
        found.todo.append(recording)
    elif (record := _recall(recording)) is not None:
        found.done.append(record)
    else:
        found.own.append(recording.name)


def _recall(recording: Recording) -> Written | None:
    """The record of a MIDI file that was written before; None if it was not, or was changed since."""
    try:
        known: Written = build(Written, read_json(recording.record), str(recording.record))
        return known if sha256(recording.midi) == known.midi_sha256 else None
    except (UserError, OSError):
        return None


@cache
def _network() -> Transkun:
    """Loaded once in a process."""
    return Transkun()


def _transcribe(recording: Recording, count: int, progress: bool) -> Written | SetAside:
    """Write down one recording; its record is there before its MIDI file is."""
    with threads_of_sums(count):
        return _heard(recording, progress)


def _heard(recording: Recording, progress: bool) -> Written | SetAside:
    network = _network()
    recording.midi.parent.mkdir(parents=True, exist_ok=True)
    audio = Spool(recording.midi.parent)
    shown = partial(tqdm, desc=recording.name, unit="window", leave=False, disable=None if progress else True)
    try:
        for block in stream_audio(recording.audio, network.rate):
            audio.append(block)
        heard, onsets = network.hear(audio, shown)
        if not (heard["pitch"] > 0).any():
            raise UserError(f"{recording.audio.name}: no notes are heard in it")
    except UserError as error:
        return SetAside(recording.name, str(error))
    events = to_events(heard)
    entry = judge(recording.name, heard, onsets, events, audio, network.rate)
    return _write(recording, events, entry, keys_of(heard))


def _write(recording: Recording, events: Any, entry: Entry, keys: list[Key]) -> Written:
    with atomic_path(recording.midi) as temporary:
        write_midi(temporary, events, RESOLUTION)
        written = Written(entry, keys, sha256(temporary))
        write_json(recording.record, asdict(written))
    _link(recording)
    return written


def _link(recording: Recording) -> None:
    """Where the MIDI file is not beside its recording, put a link to it there, so that they are a pair."""
    link = recording.midi.with_suffix(recording.audio.suffix)
    if not link.exists():
        link.unlink(missing_ok=True)  # it may lead nowhere
        link.symlink_to(recording.audio.resolve())
