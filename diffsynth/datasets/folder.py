"""Pairs of MIDI and audio in a folder of the user's own."""

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import soundfile
from tqdm import tqdm

from diffsynth.audio.files import survey_audio
from diffsynth.datasets.manifest import Performance, SetAside, describe
from diffsynth.datasets.splits import assign_splits, safe_names
from diffsynth.errors import UserError, printable
from diffsynth.midi.files import read_midi

MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".rmi")
AUDIO_SUFFIXES = (
    *(f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW"),
    ".aif",
    ".oga",
    ".opus",
)
# Audio that libsndfile cannot read, so that it is named and not taken for missing.
UNREADABLE_SUFFIXES = (
    *(".m4a", ".m4b", ".mp4", ".aac", ".alac", ".wma", ".webm", ".mka", ".weba", ".ape", ".wv", ".mpc"),
    *(".tta", ".dsf", ".dff", ".ac3", ".amr", ".ra", ".shn", ".tak"),
)


@dataclass(frozen=True)
class Pair:
    """A usable performance: its path without suffix below the root, its files, its clipped samples."""

    title: str
    midi: Path
    audio: Path
    clipped: int = 0


def find_files(root: Path, suffixes: Iterable[str], skip: Path | None = None) -> dict[str, list[Path]]:
    """Files with one of the suffixes (in either case) below a folder, by path without suffix.

    Hidden files and folders are left out, and so is the folder `skip`.

    Raises:
        UserError: there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder")
    found = defaultdict(list)
    for path in sorted(root.rglob("*")):
        below = path.relative_to(root)
        if path.suffix.lower() not in suffixes or not path.is_file():
            continue
        if any(part.startswith(".") for part in below.parts) or (skip and skip in path.resolve().parents):
            continue
        # The same in every locale; bytes that are not UTF-8 stay as surrogates.
        title = os.fsencode(below.with_suffix("").as_posix()).decode(errors="surrogateescape")
        found[title].append(path)
    return found


def check_title(title: str) -> None:
    """Refuse a title that a manifest could not hold.

    Raises:
        UserError: the name of the file, or of a folder above it, is not UTF-8.
    """
    if printable(title) != title:
        raise UserError("the name is not UTF-8: rename the file or folder")


def find_pairs(
    root: Path,
    skip: Path | None = None,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> tuple[list[Pair], list[SetAside]]:
    """Usable pairs NAME.mid and NAME.wav at any depth, and what cannot be used, with the reason.

    Args:
        root: folder, searched at any depth.
        skip: folder below it that is left out.
        progress: show a bar on a terminal.
        say: takes one line for each MIDI file of which something is not played, drums for instance.

    Raises:
        UserError: there is no such folder.
    """
    midi = find_files(root, MIDI_SUFFIXES, skip)
    audio = find_files(root, AUDIO_SUFFIXES, skip)
    unreadable = find_files(root, UNREADABLE_SUFFIXES, skip)
    pairs, set_aside = [], []
    for title in tqdm(sorted({*midi, *audio}), "reading", unit="pair", disable=None if progress else True):
        try:
            if title in midi and title not in audio and title in unreadable:
                raise UserError(cannot_read(unreadable[title][0]))
            pairs.append(_check(title, midi.get(title, []), audio.get(title, []), say))
        except UserError as error:
            set_aside.append(SetAside(printable(title), str(error)))
    return pairs, set_aside


def cannot_read(path: Path) -> str:
    """What is said of a file that has one of `UNREADABLE_SUFFIXES`."""
    return f"{path.name}: {path.suffix[1:].lower()} cannot be read, convert it to WAV or FLAC"


def copy_pairs(
    pairs: list[Pair], folder: Path, validation: float, test: float, seed: int
) -> list[Performance]:
    """Copy pairs into a folder under safe names and assign each a split.

    They are copied and not linked, because DVC makes the files of its cache read-only, and through
    a link that would be the user's own file.
    """
    titles = [pair.title for pair in pairs]
    performances = []
    splits = assign_splits(titles, validation, test, seed)
    for pair, name, split in zip(pairs, safe_names(titles), splits, strict=True):
        midi, audio = (f"{name}{path.suffix.lower()}" for path in (pair.midi, pair.audio))
        shutil.copyfile(pair.midi, folder / midi)
        shutil.copyfile(pair.audio, folder / audio)
        performances.append(describe(folder, name, split, midi, audio, pair.title, pair.clipped))
    return sorted(performances, key=lambda performance: performance.name)


def _check(title: str, midi: list[Path], audio: list[Path], say: Callable[[str], None] | None) -> Pair:
    """The pair of a title.

    Raises:
        UserError: something is missing, ambiguous or unusable; says what.
    """
    check_title(title)
    for what, files in (("MIDI", midi), ("audio", audio)):
        if not files:
            advice = "; `diffsynth transcribe` writes one" if what == "MIDI" else ""
            raise UserError(f"no {what} file of this name{advice}")
        if len(files) > 1:
            raise UserError(f"several {what} files of this name: {', '.join(file.name for file in files)}")
    read_midi(midi[0], say=say, whole=True)  # unread notes that can be heard would be wrong training data
    return Pair(title, midi[0], audio[0], survey_audio(audio[0]).clipped)
