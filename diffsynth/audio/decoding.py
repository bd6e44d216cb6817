"""Decoding of audio files through `soundfile`: all that is in a file, and nothing that is not.

Where a file is shorter than its header promises, it is refused, because what is missing at its end would
be silence that the MIDI contradicts.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from diffsynth.audio.containers import examine, foreign_format
from diffsynth.audio.layout import Layout
from diffsynth.audio.splicing import SplicedFile
from diffsynth.errors import UserError

BLOCK = 1 << 18  # samples read at a time
ENDLESS = 1 << 62  # frames that libsndfile gives where it does not know
# An MP3 file has all its frames, as counted, but the first ones may refer to what was cut off before them.
MP3_SLACK = 10 * 1152


class ForwardFile(soundfile.SoundFile):
    """A file that is read from its beginning to its end.

    `SoundFile.read` seeks after every read to where the file already is. That changes samples of an MP3
    file of variable bit rate, and fails at the end of a FLAC file that does not tell its length.
    """

    def seekable(self) -> bool:
        """Never, so that no read seeks."""
        return False


@contextmanager
def opened(path: str | Path, kind: type[soundfile.SoundFile] = ForwardFile) -> Iterator[soundfile.SoundFile]:
    """A file to read, errors of `soundfile` made readable.

    Raises:
        UserError: the file is missing, unreadable or cut short; says which.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        with path.open("rb") as content:
            layout = examine(content, path.suffix.lower())
            if layout.missing:
                raise UserError(f"{path} is cut short: {layout.missing}")
            with kind(_source(path, content, layout)) as file:
                yield file
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise UserError(_explained(path, error)) from error


def decoded(file: soundfile.SoundFile, path: str | Path) -> Iterator[NDArray[np.float32]]:
    """All samples of a file opened by `opened`, in blocks of [time, channel] in -1..1.

    Raises:
        UserError: it is empty, ends before its header says, or holds samples that are not numbers.
    """
    count = 0
    try:
        while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
            if not np.isfinite(block).all():
                raise UserError(f"{path} holds samples that are not numbers (NaN or infinite)")
            count += len(block)
            yield block
    except soundfile.SoundFileError as error:
        raise UserError(f"{path} is cut short or damaged after {_of(count, file)}: {error}") from error
    if not count and not file.frames:
        raise UserError(f"{path} holds no samples")
    slack = MP3_SLACK if file.format == "MP3" else 0
    if count + slack < file.frames < ENDLESS or not count:
        raise UserError(f"{path} is cut short: it has {_of(count, file)}")


def _source(path: Path, content: Any, layout: Layout) -> Any:
    # As bytes, because soundfile refuses names that are not text.
    return SplicedFile(content, layout.splices) if layout.splices else os.fsencode(path)


def _of(count: int, file: soundfile.SoundFile) -> str:
    return f"{count} of {file.frames} samples" if file.frames < ENDLESS else f"{count} samples"


def _explained(path: Path, error: Exception) -> str:
    """What is wrong with a file that could not be opened."""
    try:
        with path.open("rb") as content:
            foreign = foreign_format(content.read(16))
    except OSError:
        foreign = ""
    if foreign:
        return f"{path} is {foreign}, which cannot be read: convert it to WAV or FLAC"
    return f"{path} is not a readable audio file: {getattr(error, 'error_string', error)}"
