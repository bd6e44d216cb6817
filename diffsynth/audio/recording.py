"""Sound files that are written while their end is not known."""

import os
from pathlib import Path

import numpy as np
import soundfile

from diffsynth.audio.files import Audio
from diffsynth.runs.files import atomic_path


class RecordingFile:
    """A sound file that grows block by block, and appears under its name when it is complete.

    Use as a context manager; an exception leaves nothing behind.
    """

    def __init__(self, path: Path, rate: int) -> None:
        self.path = path
        self._atomic = atomic_path(path)
        self._rate = rate

    def __enter__(self) -> "RecordingFile":
        temporary = self._atomic.__enter__()
        self._file = soundfile.SoundFile(os.fsencode(temporary), "w", self._rate, 1, "PCM_16")
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._atomic.__exit__(*exception)  # type: ignore[arg-type]

    def write(self, block: Audio) -> None:
        """Append samples; beyond -1..1 they are clipped."""
        self._file.write(np.clip(block, -1.0, 1.0))
