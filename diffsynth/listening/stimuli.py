"""What a listening test plays: excerpts of the same moment by every system, at one loudness.

A *clip* is an excerpt of a performance, a *system* what renders it, a *stimulus* one clip by one system.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve, firwin, kaiserord

from diffsynth.audio.files import Audio, padded, read_audio, resample
from diffsynth.errors import UserError
from diffsynth.listening.clips import REFERENCE, Clip, check_length, find_audio
from diffsynth.listening.loudness import integrated_loudness
from diffsynth.runs.files import sha256

ANCHOR = "anchor35"  # webMUSHRA's name for the low anchor of BS.1534
PASS, STOP, ATTENUATION = 3500.0, 4000.0, 60.0  # Hz, Hz and dB of the anchor's filter
LOUDNESS = -23.0  # LUFS of every stimulus, unless a peak would come too near to full scale
PEAK = 10 ** (-1 / 20)  # the highest sample allowed: -1 dBFS
FADE = 0.01  # s, at both ends: an excerpt begins and ends within a sound

Stimuli = dict[str, dict[str, Audio]]  # by clip, then by system


def read_stimuli(systems: Mapping[str, Path], clips: Sequence[Clip], seconds: float) -> tuple[Stimuli, int]:
    """Excerpts of all clips by all systems, and their rate in Hz, which is the recording's.

    What ends before the recording is silent from there on, as in `diffsynth evaluate`.

    Args:
        systems: folder of every system, with NAME.wav or NAME.flac; `REFERENCE` is one of them.
        clips: excerpts.
        seconds: longest that an excerpt is; it ends with its recording.

    Raises:
        UserError: a file is missing or unreadable, or a clip is shorter than `SHORTEST`.
    """
    stimuli: Stimuli = {}
    rates = set()
    for clip in clips:
        truth, rate = read_audio(find_audio(systems[REFERENCE], clip.name))
        rates.add(rate)
        start = round(clip.start * rate)
        count = min(round(seconds * rate), len(truth) - start)
        check_length(clip, len(truth), rate)
        heard = {REFERENCE: truth}
        for system in [name for name in systems if name != REFERENCE]:
            samples, own = read_audio(find_audio(systems[system], clip.name))
            heard[system] = resample(samples, own, rate)
        stimuli[clip.label] = {name: padded(heard[name], start, count) for name in systems}
    if len(rates) > 1:
        raise UserError(f"recordings have different rates: {', '.join(f'{r} Hz' for r in sorted(rates))}")
    return stimuli, rates.pop()


def digests(systems: Mapping[str, Path], clips: Sequence[Clip]) -> dict[str, str]:
    """SHA-256 of every file that `read_stimuli` reads, by system and performance.

    Raises:
        UserError: one is missing.
    """
    return {
        f"{system}/{clip.name}": sha256(find_audio(folder, clip.name))
        for system, folder in systems.items()
        for clip in clips
    }


def match_loudness(stimuli: Stimuli, rate: int) -> tuple[Stimuli, float]:
    """The stimuli at one loudness and faded at both ends, and that loudness in LUFS.

    It is the integrated loudness of ITU-R BS.1770-4, the same for all clips and systems: `LOUDNESS`, or as
    much less as it takes to keep every peak below `PEAK`.

    Raises:
        UserError: a stimulus is silent.
    """
    measured = {
        (clip, system): _loudness(samples, rate, f"{clip} by {system}")
        for clip, systems in stimuli.items()
        for system, samples in systems.items()
    }
    room = min(
        20 * np.log10(PEAK / np.abs(stimuli[clip][system]).max()) + loudness
        for (clip, system), loudness in measured.items()
    )
    level = min(LOUDNESS, float(room))
    matched = {
        clip: {
            system: _faded(samples * 10 ** ((level - measured[clip, system]) / 20), rate)
            for system, samples in systems.items()
        }
        for clip, systems in stimuli.items()
    }
    return matched, level


def low_anchor(samples: Audio, rate: int) -> Audio:
    """The low anchor of BS.1534-3, 5.1: the reference, low-passed at 3.5 kHz, without delay.

    The recommendation asks for 25 dB less at 4 kHz and 50 dB at 4.5 kHz; here it is 60 dB from 4 kHz on.

    Args:
        samples: the reference, [time].
        rate: sample rate in Hz; at 8 kHz or less there is nothing to take away.
    """
    if rate <= 2 * STOP:
        return samples
    return fftconvolve(samples, anchor_filter(rate), mode="same").astype(np.float32)


def anchor_filter(rate: int) -> NDArray[np.float64]:
    """Coefficients of the anchor's low-pass of linear phase, an odd number."""
    count, beta = kaiserord(ATTENUATION, (STOP - PASS) / (rate / 2))
    return firwin(count | 1, (PASS + STOP) / 2, window=("kaiser", beta), fs=rate)


def _loudness(samples: Audio, rate: int, what: str) -> float:
    """Integrated loudness in LUFS."""
    value = integrated_loudness(samples, rate)
    if not np.isfinite(value):
        raise UserError(f"{what} is silent: it cannot be brought to the loudness of the others")
    return value


def _faded(samples: NDArray[np.floating], rate: int) -> Audio:
    ramp = np.linspace(0.0, 1.0, round(FADE * rate), endpoint=False)
    faded = samples.astype(np.float64)
    faded[: len(ramp)] *= ramp
    faded[-len(ramp) :] *= ramp[::-1]
    return faded.astype(np.float32)
