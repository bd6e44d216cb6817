"""What is played: pairs of MIDI and a recording, and the stretch of each that is measured."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsynth.audio.files import audio_duration
from diffsynth.datasets.folder import Pair, find_pairs
from diffsynth.datasets.manifest import SetAside, require_some
from diffsynth.datasets.splits import safe_names
from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, Events, make_events
from diffsynth.midi.files import read_midi, write_midi

RESOLUTION, TEMPO = 24000, 60.0  # of a MIDI file that is cut: ticks of 1/24000 s
SHORTEST = 0.5  # s that can be measured


@dataclass(frozen=True)
class Stretch:
    """What is measured of every performance: at most `seconds` (None: all) from second `begin`."""

    begin: float = 0.0
    seconds: float | None = None

    def end(self, duration: float) -> float:
        """Where it ends in a recording of `duration` s."""
        return duration if self.seconds is None else min(duration, self.begin + self.seconds)


@dataclass(frozen=True)
class Piece:
    """A performance.

    Attributes:
        name: of its files.
        title: its path below the folder, without suffix.
        source: MIDI file of the folder.
        midi: what all systems play: the source, or what `cut` leaves of it.
        audio: the recording.
        end: second at which the stretch ends, and what is rendered, which begins at 0.
    """

    name: str
    title: str
    source: Path
    midi: Path
    audio: Path
    end: float

    def events(self) -> Events:
        """What is played, times in seconds."""
        return read_midi(self.midi, whole=True)


def find_pieces(
    folder: Path, out: Path, stretch: Stretch, say: Callable[[str], None]
) -> tuple[list[Piece], list[SetAside]]:
    """Performances of a folder, in order of their names, and what cannot be used, with the reason.

    MIDI files that are cut are not written yet: see `write_cut`.

    Args:
        folder: pairs NAME.mid and NAME.wav, at any depth.
        out: folder below it that is left out, and that takes MIDI files that are cut.
        stretch: what is measured of each.
        say: takes a line for each MIDI file of which something is not played.

    Raises:
        UserError: there is no such folder, or nothing in it that can be used.
    """
    pairs, set_aside = find_pairs(folder, out.resolve(), say=say)
    usable = []
    for pair in pairs:
        try:
            usable.append((pair, _end(pair, stretch)))
        except UserError as error:
            set_aside.append(SetAside(pair.title, str(error)))
    require_some(usable, set_aside, folder, "pair of MIDI and audio")
    pieces = []
    names = safe_names([pair.title for pair, _ in usable])
    for (pair, end), name in zip(usable, names, strict=True):
        played = pair.midi if stretch.seconds is None else out / "midi" / f"{name}.mid"
        pieces.append(Piece(name, pair.title, pair.midi, played, pair.audio, end))
    return sorted(pieces, key=lambda piece: piece.name), set_aside


def _end(pair: Pair, stretch: Stretch) -> float:
    """Where the stretch of a performance ends, in s.

    Raises:
        UserError: nothing of the stretch is recorded, or nothing is played before it ends.
    """
    duration = audio_duration(pair.audio)
    if duration - stretch.begin < SHORTEST:
        raise UserError(f"the recording lasts {duration:.1f} s only")
    end = stretch.end(duration)
    cut(read_midi(pair.midi, whole=True), end)
    return end


def write_cut(pieces: Iterable[Piece]) -> None:
    """Write the MIDI files that are cut."""
    for piece in pieces:
        if piece.midi != piece.source:
            events = cut(read_midi(piece.source, whole=True), piece.end)
            write_midi(piece.midi, events, RESOLUTION, TEMPO)


def cut(events: Events, end: float) -> Events:
    """Events before second `end`, at which keys that are still down come up.

    Raises:
        UserError: no key is struck before.
    """
    part = events[events["time"] < end]
    if not (part["kind"] == NOTE_ON).any():
        raise UserError(f"no key is struck before second {end:g}")
    down: set[int] = set()
    for kind, key in part[part["kind"] != CONTROL][["kind", "number"]].tolist():
        (down.add if kind == NOTE_ON else down.discard)(key)
    return np.concatenate([part, make_events([(end, NOTE_OFF, key, 0) for key in sorted(down)])])
