"""The balance of modes and noise: levels in bands that make the whole as loud as the recordings are.

Where strikes do not repeat exactly, least squares on samples cannot tell how loud a mode is, and says nothing
of what has no phase. Levels can: with the levels of the modes as they are played and the memories of events
that drive noise (`diffsynth.piano.noise`), the level of every band is a sum of positive terms. Their factors
are found by gradient descent on the absolute difference in dB, which counts soft sounds as much as loud
ones. A factor for the modes of a band goes into their amplitudes, the rest is the piano's noise.

Every fifth second is held out: what does not bring the levels there nearer is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from torch import Tensor

from diffsynth.audio.band_levels import BandLevels
from diffsynth.audio.mel_bands import centres_of, places_of
from diffsynth.fitting.takes import Take
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.noise import DRIVES, UNDER_PEDAL, Noise, remember
from diffsynth.piano.noise_bank import NoiseDrives
from diffsynth.piano.piano import Piano

BANDS = 64
LOWEST = 40.0  # Hz, centre of the first band
WINDOW = 0.064  # s, of the analysis
FRAME = 0.008  # s
PART = 256  # frames played at a time
MOST = 20_000  # frames that are compared
FAINT = 1e-12  # level (-120 dB) of a recording in which nothing is heard
RANGE = 1e-8  # of the loudest level: what is softer is not heard
START = 1e-10  # of the loudest level, of every kind of noise before the descent
ROUNDS, RATE = 200, 0.15  # of the descent, and its first step in nepers of power
CORNER = 1.0  # dB, below which differences count by their square
LOUDER, SOFTER = 2.0, 1000.0  # limits of the factor of the modes, as power
BETTER = 0.1  # dB by which the difference must fall; else nothing is changed
SECOND, FOLD = 1.0, 5  # s held out, of so many
Array = NDArray[Any]


@dataclass(frozen=True)
class Levels:
    """What is heard and what is known in n frames, levels relative to the loudest.

    Attributes:
        heard: [b, n] levels of the recordings.
        modes: [b, n] levels of the modes.
        memories: [2 i, b, n] memories, and again as far as the sustain pedal holds them.
        held_out: [n] frames that are not fitted to.
    """

    heard: Tensor
    modes: Tensor
    memories: Tensor
    held_out: Tensor


def balance(piano: Piano, recordings: Sequence[Take], max_frequency: float) -> Piano:
    """The piano with levels as the recordings have them, and with noise; unchanged if that is no better."""
    rate = recordings[0].rate
    centre = centres_of(BANDS, LOWEST, min(max_frequency, 0.45 * rate))
    levels, loudest = _measure(piano, recordings, centre)
    if levels.held_out.all() or not levels.held_out.any():
        return piano  # too short to tell
    before = _difference(levels.modes, levels, levels.held_out)
    factor, floor, weight = _descend(levels)
    after = _difference(_sum(levels, factor, floor, weight), levels, levels.held_out)
    if after > before - BETTER:
        return piano
    place = places_of(piano.frequency, centre)
    amplitude = piano.amplitude * np.exp(np.interp(place, np.arange(BANDS), 0.5 * factor.numpy()))
    of_floor, of_memories = (loudest * x.exp().numpy().astype(np.float64) for x in (floor, weight))
    noise = Noise(centre, of_floor, of_memories.reshape(2, len(DRIVES), BANDS))
    return replace(piano, amplitude=amplitude, noise=noise)


def _measure(piano: Piano, recordings: Sequence[Take], centre: NDArray[np.float64]) -> tuple[Levels, float]:
    """Levels of about `MOST` frames of the recordings, and the loudest level."""
    rate = recordings[0].rate
    frame = round(FRAME * rate)
    total = sum(len(recording.audio) // frame for recording in recordings)
    step = -(-total // MOST)
    rows = [row for recording in recordings for row in _levels_of(piano, recording, centre, frame, step)]
    heard, modes, memories, second = (np.concatenate(column, axis=-1) for column in zip(*rows, strict=True))
    loudest = float(heard.max(initial=FAINT))
    arrays = (heard / loudest, modes / loudest, memories.astype(np.float32), second % FOLD == 0)
    return Levels(*map(torch.from_numpy, arrays)), loudest


def _levels_of(
    piano: Piano, recording: Take, centre: NDArray[np.float64], frame: int, step: int
) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Levels heard [b, n], of modes [b, n], memories [2 i, b, n] and seconds [n] of parts of a recording.

    Of every `step`th frame.
    """
    rate, length = recording.rate, len(recording.audio) // frame
    bank, drives = Bank(piano, rate, frame), NoiseDrives(piano, centre, frame / rate)
    analyse = BandLevels(centre, rate, 2 * round(WINDOW * rate / 2), frame)
    unity, memory = np.ones((PART + 1, bank.modes), dtype=np.float32), np.zeros((len(DRIVES), len(centre)))
    window = np.hanning(round(WINDOW * rate / frame) + 2)[1:-1] ** 2
    half = len(window) // 2
    for begin in range(0, length, PART):
        frames = min(PART, length - begin)
        part = slice(begin * frame, (begin + frames) * frame)
        low, high = np.searchsorted(recording.events["position"], [part.start, part.stop])
        events = recording.events[low:high].copy()
        events["position"] -= part.start
        excitation = bank.process(events, frames)
        driven, pedal = drives.follow(excitation.strikes, excitation.key_ups, excitation.pedals)
        after, memory = remember(driven, memory, frame / rate)
        plain = np.where(UNDER_PEDAL[:, None, None], 0.0, after)
        known = _smoothed(np.concatenate([plain, after * pedal[:, None]]), window / window.sum())
        played = bank.play(excitation, unity[: frames + 1])
        heard, modes = (analyse(sound) for sound in (recording.audio[part], played))
        kept = np.arange(half, frames - half, step)  # at the ends, windows reach beyond the part
        second = (begin + kept) * FRAME // SECOND
        yield heard[kept].T, modes[kept].T, known[:, kept].transpose(0, 2, 1), second


def _smoothed(frames: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float32]:
    """[.., l, b] averaged over neighbouring frames, as the window of the analysis does."""
    averaged: NDArray[np.float32] = convolve1d(
        frames.astype(np.float32), window.astype(np.float32), axis=-2, mode="nearest"
    )
    return averaged


def _sum(levels: Levels, factor: Tensor, floor: Tensor, weight: Tensor) -> Tensor:
    """[b, n] levels of modes and noise, from logarithms of their factors: [b], [b] and [2 i, b]."""
    noise = (weight.exp()[:, :, None] * levels.memories).sum(dim=0)
    return levels.modes * factor.exp()[:, None] + floor.exp()[:, None] + noise


def _difference(level: Tensor, levels: Levels, frames: Tensor) -> float:
    """Mean absolute difference of the levels in some frames, in dB."""
    return float(_decibels(level, levels.heard)[:, frames].abs().mean())


def _decibels(level: Tensor, heard: Tensor) -> Tensor:
    return 10 * torch.log10((level + RANGE) / (heard + RANGE))


def _descend(levels: Levels) -> tuple[Tensor, Tensor, Tensor]:
    """Logarithms of the factor of the modes [b], the floor [b] and the weights [2 i, b] (-inf: not heard)."""
    kept = ~levels.held_out
    part = Levels(levels.heard[:, kept], levels.modes[:, kept], levels.memories[..., kept], kept[kept])
    bands = len(part.heard)
    factor = torch.zeros(bands, requires_grad=True)
    floor = torch.full((bands,), float(np.log(START)), requires_grad=True)
    weight = torch.full((2 * len(DRIVES), bands), float(np.log(START)), requires_grad=True)
    optimiser = torch.optim.Adam([factor, floor, weight], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, ROUNDS, RATE / 10)
    for _ in range(ROUNDS):
        optimiser.zero_grad()
        difference = _decibels(_sum(part, factor, floor, weight), part.heard)
        # Without a corner at 0, where rounding would decide which way to go.
        torch.nn.functional.huber_loss(difference, torch.zeros_like(difference), delta=CORNER).backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            factor.clamp_(-np.log(SOFTER), np.log(LOUDER))
    with torch.no_grad():
        heard = weight.exp() * part.memories.amax(dim=-1) > RANGE
    return factor.detach(), floor.detach(), weight.detach().where(heard, -torch.inf)
