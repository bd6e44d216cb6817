"""Programs of others that render a MIDI file into a sound file: `NAME=program {midi} {wav}`.

A command is started as it is, without a shell, once for each performance.
"""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, ClassVar

import soundfile

from diffsynth.audio.files import survey_audio
from diffsynth.benchmark.pieces import Piece
from diffsynth.benchmark.systems import NO_TIMES, Played, System
from diffsynth.errors import UserError
from diffsynth.runs.files import check_name, sha256

MIDI, WAV = "{midi}", "{wav}"
SAID = 4096  # bytes at the end of what a program said that are looked at


@dataclass(frozen=True)
class External(System):
    """A program.

    Attributes:
        model: its name.
        command: of the program, with both placeholders.
        limit: seconds after which it is ended.
    """

    kind: ClassVar[str] = "command"

    model: str
    command: str
    limit: float

    @classmethod
    def parse(cls, text: str, limit: float) -> "External":
        """The program that an option names.

        Raises:
            UserError: the option is not NAME='command {midi} {wav}', or there is no such program.
        """
        name, separator, command = text.partition("=")
        check_name(name, "--system")
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UserError(f"--system {name}: {error} in {command!r}") from error
        if not separator or not words:
            raise UserError(f"--system takes NAME='command {MIDI} {WAV}', not {text!r}")
        for placeholder in (MIDI, WAV):
            if not any(placeholder in word for word in words):
                raise UserError(f"--system {name}: the command lacks {placeholder}")
        if shutil.which(words[0]) is None:
            raise UserError(f"--system {name}: there is no program {words[0]}")
        return cls(name, command, limit)

    @property
    def words(self) -> list[str]:
        """The program and its arguments."""
        return shlex.split(self.command)

    @cached_property
    def _files(self) -> dict[str, str]:
        """SHA-256 of the program and of files that its command names."""
        places = [Path(shutil.which(self.words[0]) or self.words[0]), *map(Path, self.words[1:])]
        return {str(place): sha256(place) for place in places if place.is_file()}

    def origin(self) -> dict[str, Any]:
        """See `System`."""
        return {"command": self.command, "files": self._files}

    def play(self, piece: Piece, wav: Path) -> Played:
        """See `System`; the time includes the start of the program."""
        paths = {MIDI: str(piece.midi.resolve()), WAV: str(wav.resolve())}
        words = [word.replace(MIDI, paths[MIDI]).replace(WAV, paths[WAV]) for word in self.words]
        with tempfile.TemporaryFile() as said:
            begin = time.perf_counter()
            code = self._run(words, said, piece)
            spent = time.perf_counter() - begin
            if code:
                ended = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
                raise UserError(f"{self.model} {ended} at {piece.title}{_last_line(said)}")
        if not wav.is_file():
            raise UserError(f"{self.model} wrote no {WAV} of {piece.title}")
        try:
            return Played(spent, survey_audio(wav).clipped, NO_TIMES)
        except (UserError, soundfile.LibsndfileError) as error:
            raise UserError(f"{self.model} wrote no sound file of {piece.title}: {error}") from error

    def _run(self, words: Sequence[str], said: IO[bytes], piece: Piece) -> int:
        """Its exit code; below 0 the signal that ended it."""
        silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": said}
        try:
            process = subprocess.Popen(words, start_new_session=True, **silent)  # type: ignore[call-overload]
        except OSError as error:
            raise UserError(f"{self.model} cannot be started: {error.strerror}") from error
        try:
            return int(process.wait(self.limit))
        except subprocess.TimeoutExpired as error:
            raise UserError(f"{self.model} took more than {self.limit:g} s for {piece.title}") from error
        finally:  # also where this is interrupted; with all processes that it has started
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _last_line(said: IO[bytes]) -> str:
    """The last line that is not empty, after a colon."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - SAID))
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines()]
    return next((f": {line}" for line in reversed(lines) if line), "")
