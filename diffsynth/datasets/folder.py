"""Pairs of MIDI and audio in a folder of the user's own."""

import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from diffsynth.datasets.manifest import Performance, SetAside, clipped, describe
from diffsynth.datasets.splits import assign_splits, safe_names
from diffsynth.errors import UserError
from diffsynth.midi.files import read_midi

MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".rmi")
AUDIO_SUFFIXES = (
    *(f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW"),
    ".aif",
    ".oga",
    ".opus",
)
_BLOCK = 2**18  # samples read at a time


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
        # Names that are not Unicode could not be written to a manifest.
        title = below.with_suffix("").as_posix().encode(errors="replace").decode()
        found[title].append(path)
    return found


def find_pairs(
    root: Path, skip: Path | None = None, progress: bool = True
) -> tuple[list[Pair], list[SetAside]]:
    """Usable pairs NAME.mid and NAME.wav at any depth, and what cannot be used, with the reason.

    Raises:
        UserError: there is no such folder.
    """
    midi = find_files(root, MIDI_SUFFIXES, skip)
    audio = find_files(root, AUDIO_SUFFIXES, skip)
    pairs, set_aside = [], []
    for title in tqdm(sorted({*midi, *audio}), "reading", unit="pair", disable=None if progress else True):
        try:
            pairs.append(_check(title, midi.get(title, []), audio.get(title, [])))
        except UserError as error:
            set_aside.append(SetAside(title, str(error)))
    return pairs, set_aside


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


def _check(title: str, midi: list[Path], audio: list[Path]) -> Pair:
    """The pair of a title.

    Raises:
        UserError: something is missing, ambiguous or unusable; says what.
    """
    for what, files in (("MIDI", midi), ("audio", audio)):
        if not files:
            raise UserError(f"no {what} file of this name")
        if len(files) > 1:
            raise UserError(f"several {what} files of this name: {', '.join(file.name for file in files)}")
    read_midi(midi[0], whole=True)  # audio of notes that cannot be read would teach wrong ones
    return Pair(title, midi[0], audio[0], _check_audio(audio[0]))


def _check_audio(path: Path) -> int:
    """Number of clipped samples, having read the whole file block by block.

    Raises:
        UserError: it is unreadable, empty, cut short, or holds samples that are not numbers.
    """
    count = total = 0
    try:
        with soundfile.SoundFile(path) as file:
            # One sample overlaps, because clipping is seen in two neighbours.
            for block in file.blocks(_BLOCK, overlap=1, dtype="float32", always_2d=True):
                if not np.isfinite(block).all():
                    raise UserError(f"{path} holds samples that are not numbers (NaN or infinite)")
                count += len(block) - (count > 0)
                total += clipped(block)
            if not count:
                raise UserError(f"{path} holds no samples")
            if count < file.frames:
                raise UserError(f"{path} is cut short: {count} of {file.frames} samples")
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"{path} is not a readable audio file: {error}") from error
    return total
