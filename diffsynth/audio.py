"""Audio files in and out, mono float32, through `soundfile`; resampling through `soxr`."""

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from diffsynth.errors import UserError
from diffsynth.files import atomic_path

Audio = NDArray[np.float32]

BLOCK = 1 << 18  # samples read at a time


def read_audio(path: str | Path) -> tuple[Audio, int]:
    """Samples of a file, [time] in -1..1, channels averaged, and its sample rate in Hz.

    Raises:
        UserError: the file is missing, unreadable, empty, or holds samples that are not numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            # By blocks, so that all channels of a long recording are never in memory together.
            mono = np.empty(file.frames, np.float32)
            length = 0
            for block in file.blocks(BLOCK, dtype="float32", always_2d=True):
                mono[length : length + len(block)] = block.T.mean(axis=0)
                length += len(block)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise UserError(f"{path} is not a readable audio file: {error}") from error
    if not length:
        raise UserError(f"{path} holds no samples")
    if not np.isfinite(mono[:length]).all():
        raise UserError(f"{path} holds samples that are not numbers (NaN or infinite)")
    return mono[:length], rate


def write_audio(path: str | Path, samples: Audio, rate: int, subtype: str = "PCM_16") -> None:
    """Write mono samples to a WAV or FLAC file, atomically; beyond -1..1 they are clipped."""
    with atomic_path(path) as temporary:
        soundfile.write(temporary, np.clip(samples, -1.0, 1.0), rate, subtype=subtype)


def resample(samples: Audio, rate: int, new_rate: int) -> Audio:
    """Samples at `rate` Hz converted to `new_rate` Hz, linear phase, no delay."""
    if rate == new_rate:
        return samples
    return soxr.resample(samples, rate, new_rate, quality="HQ").astype(np.float32)
