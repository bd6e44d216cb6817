"""The list of what a dataset holds, `manifest.json`, and whether the files are still what it says."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from diffsynth.audio.files import audio_duration
from diffsynth.config import SPLITS, build
from diffsynth.errors import UserError
from diffsynth.runs.files import read_json, sha256, write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Performance:
    """One pair of MIDI and audio.

    Attributes:
        name: identifies it in every later stage; letters, digits, "_" and "-" only.
        split: "train", "validation" or "test".
        midi: path relative to the manifest's folder, as is `audio`.
        midi_sha256: hexadecimal, as is `audio_sha256`.
        duration: of the audio, in seconds.
        title: for people.
        clipped: samples of the audio that are clipped, see `diffsynth.audio.files.clipped`.
    """

    name: str
    split: str
    midi: str
    audio: str
    midi_sha256: str
    audio_sha256: str
    duration: float
    title: str = ""
    clipped: int = 0


@dataclass(frozen=True)
class SetAside:
    """Something found that cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """A dataset: performances sorted by name, and what was left out."""

    dataset: str
    performances: list[Performance]
    set_aside: list[SetAside]


def describe(
    folder: Path, name: str, split: str, midi: str, audio: str, title: str, clipped: int
) -> Performance:
    """The entry of a pair of files that lies in `folder`."""
    return Performance(
        name=name,
        split=split,
        midi=midi,
        audio=audio,
        midi_sha256=sha256(folder / midi),
        audio_sha256=sha256(folder / audio),
        duration=audio_duration(folder / audio),
        title=title,
        clipped=clipped,
    )


def require_some(found: object, set_aside: list[SetAside], root: str | Path, what: str) -> None:
    """Refuse a source in which nothing can be used.

    Raises:
        UserError: `found` is empty; names the first reasons.
    """
    if found:
        return
    reasons = "; ".join(f"{item.name}: {item.reason}" for item in set_aside[:3])
    raise UserError(f"{root} holds no usable {what}{f' ({reasons})' if reasons else ''}")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into a folder, atomically."""
    write_json(folder / MANIFEST, dataclasses.asdict(manifest))


def read_manifest(folder: str | Path) -> Manifest:
    """Read the `manifest.json` of a folder.

    Raises:
        UserError: it is missing, or not a manifest.
    """
    path = Path(folder) / MANIFEST
    manifest: Manifest = build(Manifest, read_json(path), str(path))
    for performance in manifest.performances:
        if performance.split not in SPLITS:
            raise UserError(f"{path}: {performance.name} is in no known split: {performance.split!r}")
    return manifest


def verify(folder: str | Path, manifest: Manifest) -> None:
    """Check that every file is there, unchanged and of the stated length.

    Raises:
        UserError: one is not; names it.
    """
    folder = Path(folder)
    for performance in manifest.performances:
        for file, digest in (
            (performance.midi, performance.midi_sha256),
            (performance.audio, performance.audio_sha256),
        ):
            if not (folder / file).is_file():
                raise UserError(f"{folder / file} is missing, though {MANIFEST} lists it")
            if sha256(folder / file) != digest:
                raise UserError(
                    f"{folder / file} is damaged or changed: its SHA-256 is not the one in {MANIFEST}"
                )
        if abs(audio_duration(folder / performance.audio) - performance.duration) > 1e-3:
            raise UserError(f"{folder / performance.audio} does not last {performance.duration} s")
