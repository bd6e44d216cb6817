"""Which excerpts a listening test has: as they are named on the command line, checked before any is read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsynth.audio.files import AudioFile
from diffsynth.config import nearest
from diffsynth.errors import UserError

REFERENCE = "recording"  # name of the system that is the truth
SHORTEST = 0.5  # s; loudness is measured over windows of 0.4 s
AUDIO = (".wav", ".flac")


@dataclass(frozen=True)
class Clip:
    """An excerpt: the performance's name and where it begins in s."""

    name: str
    start: float = 0.0

    @classmethod
    def parse(cls, text: str, names: Collection[str] = ()) -> "Clip":
        """A clip as it is named on the command line: NAME, or NAME@SECONDS.

        Args:
            text: of the option.
            names: of performances, which may have an @ themselves.

        Raises:
            UserError: there is no name, or what follows the @ is no time.
        """
        name, at, start = text.rpartition("@")
        if text and (not at or text in names):
            return cls(text)
        try:
            seconds = float(start)
        except ValueError:
            seconds = -1.0
        if not name or not 0 <= seconds < np.inf:
            raise UserError(f"--clip takes NAME or NAME@SECONDS, not {text!r}")
        return cls(name, seconds)

    @property
    def label(self) -> str:
        """The name, with its start if that is not 0."""
        return f"{self.name}@{self.start:g}" if self.start else self.name


def choose_clips(given: Sequence[str], systems: Mapping[str, Path]) -> list[Clip]:
    """Those given, or the beginning of every performance that all systems have.

    Args:
        given: clips as `Clip.parse` takes them.
        systems: folder of every system, `REFERENCE` among them.

    Raises:
        UserError: one is given twice, is not in all folders or is shorter than `SHORTEST`, or there is none.
    """
    if not given:
        return [Clip(name) for name in common_names(systems)]
    names = performances(systems[REFERENCE])
    clips = [Clip.parse(text, names) for text in given]
    labels = [clip.label for clip in clips]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise UserError(f"the clip {twice} is given twice")
    for clip in clips:
        _check(clip, names, systems)
    return clips


def _check(clip: Clip, names: Collection[str], systems: Mapping[str, Path]) -> None:
    if clip.name not in names:
        folder = systems[REFERENCE]
        raise UserError(f"{folder} holds no performance {clip.name!r}{nearest(clip.name, names)}")
    files = {system: find_audio(folder, clip.name) for system, folder in systems.items()}
    with AudioFile(files[REFERENCE]) as file:
        check_length(clip, len(file), file.rate)


def check_length(clip: Clip, length: int, rate: int) -> None:
    """Refuse a clip of which the recording, of `length` samples at `rate` Hz, has too little.

    Raises:
        UserError: less than `SHORTEST` is left from where it begins.
    """
    if length - round(clip.start * rate) < SHORTEST * rate:
        has = f"{clip.name} has {length / rate:.2f} s"
        raise UserError(f"the clip {clip.label} is too short: {has}, and a clip needs {SHORTEST} s")


def performances(folder: Path) -> list[str]:
    """Names of the sounds in a folder, sorted."""
    return sorted({file.stem for file in folder.glob("*") if file.suffix in AUDIO})


def common_names(systems: Mapping[str, Path]) -> list[str]:
    """Names of the performances that every folder holds, sorted.

    Raises:
        UserError: there is none.
    """
    common = sorted(set.intersection(*(set(performances(folder)) for folder in systems.values())))
    if not common:
        raise UserError(f"no performance is in all of the folders {', '.join(map(str, systems.values()))}")
    return common


def find_audio(folder: Path, name: str) -> Path:
    """The file of a performance.

    Raises:
        UserError: there is none.
    """
    files = [folder / f"{name}{suffix}" for suffix in AUDIO]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise UserError(f"{folder} holds no {' or '.join(file.name for file in files)}")
    return found
