"""Audio files in and out, float32, through `soundfile`; resampling through `soxr`."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from diffsynth.audio.channels import Audio, converted, count, mixed
from diffsynth.audio.decoding import BLOCK, ENDLESS, decoded, opened
from diffsynth.errors import UserError
from diffsynth.runs.files import atomic_path

CLIPPED_FROM = 32766 / 32768  # full scale of 16 bits, rounded either way


class Samples(Protocol):
    """Samples, in memory or not: as much of an array as it takes to read them piece by piece."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> Audio: ...


class Spool:
    """Samples in an unnamed file: however many there are, only those asked for are in memory.

    The file vanishes with the process, however that ends.
    """

    def __init__(self, folder: Path, channels: int = 1) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, closed with the object
        self._length, self._channels = 0, channels

    def append(self, samples: Audio) -> None:
        """Add float32 samples at the end, [time], or [time, channels] if there are several."""
        self._file.write(samples.tobytes())
        self._file.flush()
        self._length += len(samples)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> Audio:
        start, stop, _ = part.indices(self._length)
        size = 4 * self._channels
        content = os.pread(self._file.fileno(), size * max(stop - start, 0), size * start)
        samples = np.frombuffer(content, np.float32)
        return samples if self._channels == 1 else samples.reshape(-1, self._channels)


class Mixed:
    """The mean of all channels of samples, [time]."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, part: slice) -> Audio:
        return mixed(self._samples[part])


class AudioFile:
    """A file of which only the samples asked for are read, [time], or [time, c] if it has c > 1 channels.

    Raises:
        UserError: as `read_audio`, for errors found when opening it.
    """

    def __init__(self, path: str | Path) -> None:
        self._path, self._stack = path, ExitStack()
        self._file = self._stack.enter_context(opened(path, soundfile.SoundFile))

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def __len__(self) -> int:
        return int(self._file.frames)

    @property
    def rate(self) -> int:
        """Samples per second."""
        return int(self._file.samplerate)

    def __getitem__(self, part: slice) -> Audio:
        start, stop, _ = part.indices(len(self))
        if self._file.tell() != start:
            self._file.seek(start)
        return self._file.read(max(stop - start, 0), dtype="float32")


class SampleRange:
    """Samples from `start` to `stop` of others; where these do not exist, 0."""

    def __init__(self, samples: Samples, start: int, stop: int) -> None:
        self._samples, self.start, self.stop = samples, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> Audio:
        first, last, _ = part.indices(len(self))
        return padded(self._samples, self.start + first, max(last - first, 0))


def padded(samples: Samples, start: int, count: int) -> Audio:
    """`count` samples from `start`, which may lie outside; samples that do not exist are 0."""
    part = samples[max(start, 0) : max(start + count, 0)]
    if len(part) == count:
        return part
    result = np.zeros((count, *part.shape[1:]), np.float32)
    first = max(-start, 0)
    result[first : first + len(part)] = part
    return result


def read_audio(path: str | Path, channels: int = 1) -> tuple[Audio, int]:
    """Samples of a file in -1..1, and its sample rate in Hz.

    Args:
        path: of the file.
        channels: 1: all averaged, [time]; more: [time, channels], a single one repeated.

    Raises:
        UserError: the file is missing, unreadable, empty, shorter than its header says, or holds samples
            that are not numbers, or its channels are neither one nor those wanted.
    """
    with opened(path) as file:
        return np.concatenate([_of(block, channels, path) for block in decoded(file, path)]), file.samplerate


@dataclass(frozen=True)
class Survey:
    """Result of reading a whole file: samples per channel, their rate in Hz, and how many are clipped."""

    length: int
    rate: int
    clipped: int

    @property
    def duration(self) -> float:
        """Seconds, to the microsecond."""
        return round(self.length / self.rate, 6)


def survey_audio(path: str | Path) -> Survey:
    """Read a whole file, block by block.

    Raises:
        UserError: as `read_audio`.
    """
    length = clips = 0
    with opened(path) as file:
        last = np.zeros((0, file.channels), np.float32)
        for block in decoded(file, path):
            # One sample overlaps, because clipping is seen in two neighbours.
            clips += clipped(np.concatenate([last, block]))
            length, last = length + len(block), block[-1:]
        return Survey(length, file.samplerate, clips)


def clipped(samples: NDArray[np.float32]) -> int:
    """Number of samples, [time] or [time, channel], at full scale whose next one is there as well.

    A single sample at full scale is the peak of a normalised recording.
    """
    full = np.abs(samples) >= CLIPPED_FROM
    return int((full[1:] & full[:-1]).sum())


def audio_length(path: str | Path) -> int:
    """Samples per channel in a file, by its header if that holds them.

    Raises:
        UserError: it is missing, unreadable or cut short.
    """
    with opened(path) as file:
        if file.frames < ENDLESS and file.format != "MP3":
            return int(file.frames)
    return survey_audio(path).length


def audio_duration(path: str | Path) -> float:
    """Seconds of a file, to the microsecond; errors as `audio_length`."""
    with opened(path) as file:
        rate = file.samplerate
    return round(audio_length(path) / rate, 6)


def stream_audio(path: str | Path, rate: int, channels: int = 1) -> Iterator[Audio]:
    """What `read_audio` and `resample` to `rate` Hz make of a file, in blocks of a few seconds.

    Raises:
        UserError: as `read_audio`; what is wrong may show only after some blocks.
    """
    with opened(path) as file:
        blocks = (_of(block, channels, path) for block in decoded(file, path))
        if file.samplerate == rate:
            yield from blocks
            return
        resampler = soxr.ResampleStream(file.samplerate, rate, channels, quality="HQ")
        for block in blocks:
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.zeros((0, channels) if channels > 1 else 0, np.float32), last=True)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """One line for what libsndfile refuses while it writes a file.

    Raises:
        UserError: names the file and the reason.
    """
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise UserError(f"cannot write {path}: {error}") from error


def write_audio(path: str | Path, samples: Samples, rate: int, subtype: str = "PCM_16") -> None:
    """Write samples, [time] or [time, c], to a WAV or FLAC file, atomically; beyond -1..1 they are clipped.

    Raises:
        UserError: it cannot be written.
    """
    channels = count(samples[:0])
    with (
        writing(path),
        atomic_path(path) as temporary,
        soundfile.SoundFile(os.fsencode(temporary), "w", rate, channels=channels, subtype=subtype) as file,
    ):
        for start in range(0, len(samples), BLOCK):
            part = samples[start : start + BLOCK]
            file.write(sixteen_bits(part) if subtype == "PCM_16" else np.clip(part, -1.0, 1.0))


def sixteen_bits(samples: Audio) -> NDArray[np.int16]:
    """Samples rounded to the nearest of 16 bits; beyond -1..1 they are clipped.

    libsndfile rounds down where it writes WAV, so that what is nearly silent becomes a hiss of -93 dB.
    """
    return np.rint(np.multiply(samples, 32768.0)).clip(-32768, 32767).astype(np.int16)


def resample(samples: Audio, rate: int, new_rate: int) -> Audio:
    """Samples at `rate` Hz converted to `new_rate` Hz, linear phase, no delay."""
    if rate == new_rate:
        return samples
    return soxr.resample(samples, rate, new_rate, quality="HQ").astype(np.float32)


def _of(block: Audio, channels: int, path: str | Path) -> Audio:
    """[time, c] of a file as so many channels."""
    try:
        return converted(block, channels)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
