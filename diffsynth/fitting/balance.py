"""The balance of modes and noise: levels that make the whole as loud as the recordings are.

Where strikes do not repeat exactly, least squares on samples cannot tell how loud a mode is, and says nothing
of what has no phase. Levels can: with the levels of the modes as they are played and the memories of events
that drive noise (`diffsynth.piano.noise`), the level of every bin of a spectrum is a sum of positive terms.
The factors of the noise are found by gradient descent on the absolute difference in dB, which counts soft
sounds as much as loud ones. Then the modes of a band take the factor that they lack in the median, where they
stand out of the noise, and the noise is found anew.

The window is long enough to tell partials from what lies between them: by levels of whole bands, noise would
stand in for partials that are too soft. The level of noise in a bin varies, and its median, which absolute
differences lead to, is `BELOW` its mean (as of an exponential distribution).

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
from diffsynth.audio.mel_bands import centres_of, places_of, shares_of
from diffsynth.fitting.takes import Take
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.noise import DRIVES, UNDER_PEDAL, Noise, remember
from diffsynth.piano.noise_bank import NoiseDrives
from diffsynth.piano.piano import Piano

BANDS = 64
LOWEST = 40.0  # Hz, centre of the first band
WINDOW = 0.128  # s, of the analysis
FRAME = 0.008  # s
PART = 256  # frames played at a time
MOST = 12_000  # frames that are compared
FAINT = 1e-12  # level (-120 dB) of a recording in which nothing is heard
RANGE = 1e-8  # of the loudest level: what is softer is not heard
START = 1e-10  # of the loudest level, of every kind of noise before the descent
ROUNDS, RATE = 120, 0.2  # of the descent, and its first step in nepers of power
LOUD = 1e-4  # of the loudest level in a band: where modes are compared with what is heard
CLEAR = 4.0  # times the noise: the same
ENOUGH = 30  # cells of a band that must be compared
BINS = 16  # of a band at most that are compared, as many others counting with each
BELOW = -10 * np.log10(np.log(2))  # dB
CORNER = 1.0  # dB, below which differences count by their square
LOUDER, SOFTER = 2.0, 1000.0  # limits of the factor of the modes, as power
BETTER = 0.2  # dB by which noise must bring the levels nearer; else nothing is changed
LEVELLED = 0.02  # the same of the levels of the modes, which are heard in few cells
SECOND, FOLD = 1.0, 5  # s held out, of so many
Array = NDArray[Any]


@dataclass(frozen=True)
class Levels:
    """What is heard and what is known of f frequencies in n frames, levels relative to the loudest.

    Attributes:
        heard: [f, n] levels of the recordings.
        modes: [f, n] levels of the modes.
        memories: [2 i, b, n] memories, and again as far as the sustain pedal holds them.
        held_out: [n] frames that are not fitted to.
        shares: [f, b] of the bands in each frequency.
        spread: [f, b] level at each frequency of noise of level 1 in each band.
        count: [f] frequencies that each one stands for.
    """

    heard: Tensor
    modes: Tensor
    memories: Tensor
    held_out: Tensor
    shares: Tensor
    spread: Tensor
    count: Tensor

    def of(self, frames: Tensor) -> "Levels":
        """Some of the frames, [n]."""
        heard, modes, held_out = self.heard[:, frames], self.modes[:, frames], self.held_out[frames]
        return replace(self, heard=heard, modes=modes, memories=self.memories[..., frames], held_out=held_out)


@dataclass(frozen=True)
class Factors:
    """Logarithms of factors of power: of modes [b], the floor [b] and the weights of memories [2 i, b]."""

    modes: Tensor
    floor: Tensor
    weight: Tensor


def balance(piano: Piano, recordings: Sequence[Take], max_frequency: float) -> Piano:
    """The piano with levels as the recordings have them, and with noise; unchanged if that is no better."""
    rate = recordings[0].rate
    centre = centres_of(BANDS, LOWEST, min(max_frequency, 0.45 * rate))
    levels, loudest = _measure(piano, recordings, centre)
    if levels.held_out.all() or not levels.held_out.any():
        return piano  # too short to tell
    fitted, held_out = levels.of(~levels.held_out), levels.of(levels.held_out)
    silence, start = (torch.full((2 * len(DRIVES) + 1, BANDS), x) for x in (-torch.inf, float(np.log(START))))
    as_they_are = torch.zeros(BANDS)
    # Between strikes a sampled instrument is silent; what rustles there is part of its recordings.
    first = silence[0] if piano.sampled else start[0]
    found = _descend(fitted, Factors(as_they_are, first, start[1:]))
    error = _error(held_out, found)
    if error > _error(held_out, Factors(as_they_are, silence[0], silence[1:])) - BETTER:
        return piano
    levelled = _descend(fitted, _level(fitted, found))
    if _error(held_out, levelled) < error - LEVELLED:
        found = levelled
    place = places_of(piano.frequency, centre)
    amplitude = piano.amplitude * np.exp(np.interp(place, np.arange(BANDS), 0.5 * found.modes.numpy()))
    floor, weight = (loudest * x.exp().numpy().astype(np.float64) for x in (found.floor, found.weight))
    noise = Noise(centre, floor, weight.reshape(2, len(DRIVES), BANDS))
    return replace(piano, amplitude=amplitude, noise=noise)


def _measure(piano: Piano, recordings: Sequence[Take], centre: NDArray[np.float64]) -> tuple[Levels, float]:
    """Levels of about `MOST` frames of the recordings, and the loudest level."""
    rate = recordings[0].rate
    frame, size = round(FRAME * rate), 2 * round(WINDOW * rate / 2)
    bins = np.arange(size // 2 + 1) * rate / size
    bins = bins[(bins > LOWEST / 2) & (bins <= centre[-1])]
    shares = shares_of(bins, centre).T
    total = sum(len(recording.audio) // frame for recording in recordings)
    step = -(-total // MOST)
    chosen, count = _chosen(shares)
    rows = [
        row for take in recordings for row in _levels_of(piano, take, centre, bins, chosen, size, frame, step)
    ]
    heard, modes, memories, second = (np.concatenate(column, axis=-1) for column in zip(*rows, strict=True))
    loudest = float(heard.max(initial=FAINT))
    arrays = (heard / loudest, modes / loudest, memories, second % FOLD == 0)
    maps = (shares[chosen], (shares / shares.sum(axis=0))[chosen], count)
    return Levels(
        *(torch.from_numpy(a) for a in arrays), *(torch.from_numpy(m).float() for m in maps)
    ), loudest


def _chosen(shares: Array) -> tuple[Array, Array]:
    """Frequencies of which about `BINS` lie in every band, of [f, b] shares, and how many each stands for."""
    places = np.cumsum(np.minimum(1.0, BINS / shares.sum(axis=0))[shares.argmax(axis=1)])
    chosen = np.flatnonzero(np.diff(np.floor(places + 1e-9), prepend=0.0))
    return chosen, np.diff(chosen, append=len(shares))


def _levels_of(
    piano: Piano,
    recording: Take,
    centre: NDArray[np.float64],
    bins: NDArray[np.float64],
    chosen: Array,
    size: int,
    frame: int,
    step: int,
) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Levels heard [f, n], of modes [f, n], memories [2 i, b, n] and seconds [n] of parts of a recording.

    Of every `step`th frame, in windows of `size` samples, at those `chosen` of the frequencies `bins` in Hz.
    """
    rate, length = recording.rate, len(recording.audio) // (step * frame) * step
    bank, drives = Bank(piano, rate, frame), NoiseDrives(piano, centre, frame / rate)
    analyse = BandLevels(bins, rate, size, step * frame)
    most = step * max(1, PART // step)
    unity, memory = np.ones((most + 1, bank.modes), dtype=np.float32), np.zeros((len(DRIVES), len(centre)))
    window = np.hanning(size // frame + 2)[1:-1] ** 2
    half = len(window) // 2
    for begin in range(0, length, most):
        frames = min(most, length - begin)
        part = slice(begin * frame, (begin + frames) * frame)
        low, high = np.searchsorted(recording.events["position"], [part.start, part.stop])
        events = recording.events[low:high].copy()
        events["position"] -= part.start
        excitation = bank.process(events, frames)
        driven, pedal = drives.follow(excitation.strikes, excitation.key_ups, excitation.pedals)
        known, memory = _known(driven, memory, pedal, frame / rate)
        known = _smoothed(known, window / window.sum())
        played = bank.play(excitation, unity[: frames + 1])
        ends = np.arange(step - 1, frames, step)
        kept = (ends >= half) & (ends < frames - half)  # windows beyond the part would lack a side
        heard, modes = (analyse(sound)[kept][:, chosen] for sound in (recording.audio[part], played))
        second = (begin + ends[kept]) * FRAME // SECOND
        yield heard.T, modes.T, known[:, ends[kept]].transpose(0, 2, 1), second


def driven_powers(piano: Piano, recordings: Sequence[Take], centre: Array) -> Array:
    """[1 + 2 i, b] mean power of noise of level 1, of the floor first and then of each memory."""
    total, count = np.zeros((2 * len(DRIVES), len(centre))), 0
    for recording in recordings:
        frame = round(FRAME * recording.rate)
        bank = Bank(piano, recording.rate, frame)
        drives = NoiseDrives(piano, centre, frame / recording.rate)
        memory = np.zeros((len(DRIVES), len(centre)))
        length = len(recording.audio) // frame
        for begin in range(0, length, PART):
            frames = min(PART, length - begin)
            span = [begin * frame, (begin + frames) * frame]
            low, high = np.searchsorted(recording.events["position"], span)
            events = recording.events[low:high].copy()
            events["position"] -= begin * frame
            excitation = bank.process(events, frames)
            driven, pedal = drives.follow(excitation.strikes, excitation.key_ups, excitation.pedals)
            known, memory = _known(driven, memory, pedal, frame / recording.rate)
            total += known.sum(axis=1)
            count += frames
    return np.vstack([np.ones(len(centre)), total / max(count, 1)])


def _known(driven: Array, memory: Array, pedal: Array, seconds: float) -> tuple[Array, Array]:
    """[2 i, f, b] memories, and again as far as the sustain pedal holds them; and the last ones, [i, b]."""
    after, memory = remember(driven, memory, seconds)
    plain = np.where(UNDER_PEDAL[:, None, None], 0.0, after)
    return np.concatenate([plain, after * pedal[:, None]]), memory


def _smoothed(frames: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float32]:
    """[.., l, b] averaged over neighbouring frames, as the window of the analysis does."""
    averaged: NDArray[np.float32] = convolve1d(
        frames.astype(np.float32), window.astype(np.float32), axis=-2, mode="nearest"
    )
    return averaged


def _noise(levels: Levels, factors: Factors) -> Tensor:
    """[f, n] levels of the noise."""
    memories = (factors.weight.exp()[:, :, None] * levels.memories).sum(dim=0)
    return levels.spread @ (factors.floor.exp()[:, None] + memories)


def _difference(levels: Levels, factors: Factors) -> Tensor:
    """[f, n] levels of modes and noise with some factors, less those heard, in dB."""
    noise = _noise(levels, factors)
    level = levels.modes * (levels.shares @ factors.modes).exp()[:, None] + noise
    return _decibels(level, levels.heard) - BELOW * noise / (level + RANGE)


def _error(levels: Levels, factors: Factors) -> float:
    """Mean absolute difference in dB where there is anything to hear.

    What is added where nothing is heard counts, but not how many such places there are: at a higher rate, and
    of instruments that fall silent, nearly all of them.
    """
    heard = (levels.heard > RANGE) | (levels.modes > RANGE)
    total = (levels.count @ _difference(levels, factors).abs()).sum()
    return float(total / (levels.count @ heard.float()).sum().clamp(min=1))


def _decibels(level: Tensor, heard: Tensor) -> Tensor:
    return 10 * torch.log10((level + RANGE) / (heard + RANGE))


def _descend(levels: Levels, factors: Factors) -> Factors:
    """Factors of noise with which the whole is as loud as what is heard; -inf where it is not heard."""
    floor, weight = (x.clone().requires_grad_() for x in (factors.floor, factors.weight))
    optimiser = torch.optim.Adam([floor, weight], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, ROUNDS, RATE / 10)
    for _ in range(ROUNDS):
        optimiser.zero_grad()
        difference = _difference(levels, Factors(factors.modes, floor, weight))
        # Without a corner at 0, where rounding would decide which way to go.
        loss = torch.nn.functional.huber_loss(
            difference, torch.zeros_like(difference), reduction="none", delta=CORNER
        )
        (levels.count @ loss).mean().backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        heard = weight.exp() * levels.memories.amax(dim=-1) > RANGE
    return Factors(factors.modes, floor.detach(), weight.detach().where(heard, -torch.inf))


def _level(levels: Levels, factors: Factors) -> Factors:
    """With the factors that the modes of each band lack in the median, where they are loud."""
    # Both sounds decide, or cells would be chosen in which one of them is loud by chance.
    both, noise = torch.sqrt(levels.modes * levels.heard), _noise(levels, factors)
    wanted = torch.log((levels.heard + FAINT) / (levels.modes + FAINT))
    band = levels.shares.argmax(dim=1)
    medians = {}
    for b in range(BANDS):
        own = band == b
        loud = (both[own] > LOUD * both[own].max()) & (both[own] > CLEAR * noise[own])
        if loud.sum() > ENOUGH:
            medians[b] = float(wanted[own][loud].median())
    if not medians:
        return factors
    everywhere = np.interp(np.arange(BANDS), list(medians), list(medians.values()))
    modes = torch.from_numpy(everywhere.clip(-np.log(SOFTER), np.log(LOUDER))).float()
    return replace(factors, modes=modes)
