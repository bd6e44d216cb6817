"""Sound files that are written while their end is not known."""

import os
from contextlib import ExitStack
from pathlib import Path

import soundfile

from diffsynth.audio.files import Audio, sixteen_bits, writing
from diffsynth.errors import UserError
from diffsynth.runs.files import atomic_path


class RecordingFile:
    """A sound file that grows block by block, and appears under its name when it is complete.

    Use as a context manager; no file is left after an exception, nor where a block could not be written.
    """

    def __init__(self, path: Path, rate: int, channels: int = 1) -> None:
        self.path = path
        self._rate, self._channels = rate, channels
        self._failure: UserError | None = None

    def __enter__(self) -> "RecordingFile":
        with ExitStack() as stack:
            stack.enter_context(writing(self.path))
            temporary = stack.enter_context(atomic_path(self.path))
            file = soundfile.SoundFile(os.fsencode(temporary), "w", self._rate, self._channels, "PCM_16")
            self._file = stack.enter_context(file)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._failure:
            exception = type(self._failure), self._failure, None
        self._stack.__exit__(*exception)  # type: ignore[arg-type]

    def write(self, block: Audio) -> None:
        """Append samples, [time] or [time, c]; beyond -1..1 they are clipped.

        Raises:
            UserError: they cannot be written.
        """
        try:
            with writing(self.path):
                self._file.write(sixteen_bits(block))
        except UserError as error:
            self._failure = error
            raise
