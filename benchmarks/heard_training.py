"""Training of gains through the spectra that are heard (`heard_sound`), in crops of pieces held in memory.

Shapes: b crops, l hops, c values of a condition, k gains, a ages.
"""

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from heard_pieces import Piece
from heard_sound import DB, Distance, Figures, HeardSound, spectral_convergence
from torch import Tensor, nn
from torch.nn import functional

from diffsynth.evaluation.metrics import FFT

CONVERGENCE, LEVEL = 1.0, 0.02  # weights in the loss, beside that of log-mel in dB
PRIOR, KEPT = 4.0, 0.999  # crops that a running level begins with, and what a step keeps of it
SEEN = 0.97  # what a step keeps of the running mean that is printed


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes:
        batch: crops in a step.
        hops: of a crop.
        warm: hops at the beginning of a crop that do not count: the network does not know what was before.
        rate: highest learning rate.
        decay: of weights.
        average: what a step keeps of the averaged weights.
        every: steps from one validation to the next.
    """

    steps: int
    every: int
    rate: float = 2e-3
    decay: float = 0.3
    batch: int = 8
    hops: int = 128
    warm: int = 16
    average: float = 0.995
    seed: int = 0


@dataclass(frozen=True)
class Track:
    """A piece on the device; modes [a, ..] and noise begin and end half a window beyond the recording."""

    modes: Tensor
    noise: Tensor
    condition: Tensor
    recorded: Tensor
    floor: Tensor

    @staticmethod
    def of(piece: Piece, synth: HeardSound, distance: Distance) -> "Track":
        """Where the buffers of the synth are."""
        device, half = synth.fade.device, synth.window // 2
        modes, noise, condition, recorded = (
            torch.from_numpy(array).to(device) for array in (*vars(piece.rendered).values(), piece.recorded)
        )
        padded = (functional.pad(sound, (half, half)) for sound in (modes, noise))
        return Track(*padded, condition, recorded, distance.floor(recorded))

    def part(self, start: int, hops: int, synth: HeardSound) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Modes, noise, condition and recording of some hops."""
        sound = slice(start * synth.hop, (start + hops) * synth.hop + synth.window)
        recorded = self.recorded[sound.start : sound.stop - synth.window]
        condition = self.condition[start : start + hops].float()
        return self.modes[:, sound], self.noise[sound], condition, recorded


class RunningLevels:
    """Level of every piece beside its recording, as far as crops have told, in place of that of a whole one.

    Pieces are compared at the same level. A crop alone would do away with its dynamics.
    """

    def __init__(self, tracks: Sequence[Track], synth: HeardSound, crop: int) -> None:
        middle = slice(synth.window // 2, -(synth.window // 2))
        heard = torch.stack([(t.modes.sum(0) + t.noise)[middle].square().sum() for t in tracks])
        recorded = torch.stack([track.recorded.square().sum() for track in tracks])
        crops = torch.tensor([len(track.condition) / crop for track in tracks], device=heard.device)
        self._unit = recorded / crops
        self._energy = PRIOR * torch.stack([heard / recorded, torch.ones_like(heard)], 1)

    @torch.no_grad()
    def factors(self, index: Tensor, heard: Tensor, recorded: Tensor) -> Tensor:
        """[b, 1] by which crops [b, time] of the pieces `index` are multiplied; they count, too."""
        energy = torch.stack([heard.square().sum(1), recorded.square().sum(1)], 1)
        self._energy.mul_(KEPT).index_add_(0, index, energy / self._unit[index, None])
        return (self._energy[index, 1:] / self._energy[index, :1]).sqrt()


@dataclass(frozen=True)
class Crops:
    """Crops of pieces: b places among these, and what `Track.part` gives, stacked; floors [b]."""

    index: Tensor
    modes: Tensor
    noise: Tensor
    condition: Tensor
    recorded: Tensor
    floor: Tensor

    @staticmethod
    def draw(
        random: np.random.Generator, tracks: Sequence[Track], synth: HeardSound, training: Training
    ) -> "Crops":
        """A batch; every hop of all pieces is about equally likely."""
        lengths = np.array([len(track.condition) for track in tracks])
        index = random.choice(len(tracks), training.batch, p=lengths / lengths.sum())
        starts = random.integers(lengths[index] - training.hops + 1).tolist()
        chosen = [tracks[i] for i in index.tolist()]
        parts = [track.part(start, training.hops, synth) for track, start in zip(chosen, starts, strict=True)]
        stacked = map(torch.stack, zip(*parts, strict=True))
        floor = torch.stack([track.floor for track in chosen])
        return Crops(torch.from_numpy(index).to(floor.device), *stacked, floor)


def train(
    network: nn.Module, tracks: Sequence[Track], synth: HeardSound, distance: Distance, training: Training
) -> Iterator[tuple[int, float, nn.Module]]:
    """Train a network of gains; yields steps done, log-mel of training, and averaged weights to validate."""
    averaged, optimiser = deepcopy(network).eval(), _optimiser(network, training)
    random, seen = np.random.default_rng(training.seed), 0.0
    levels = RunningLevels(tracks, synth, training.hops)
    for step in range(training.steps):
        for group in optimiser.param_groups:
            group["lr"] = _rate(step, training)
        crops = Crops.draw(random, tracks, synth, training)
        loss, log_mel = _loss(network, crops, synth, distance, levels, training.warm)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        _follow(averaged, network, min(training.average, (1 + step) / (10 + step)))
        seen = SEEN * seen + (1 - SEEN) * log_mel.detach()  # stays on the device
        done = step + 1
        if done % training.every == 0 or done == training.steps:
            yield done, float(seen) / (1 - SEEN**done), averaged


def _loss(
    network: nn.Module,
    crops: Crops,
    synth: HeardSound,
    distance: Distance,
    levels: RunningLevels,
    warm: int,
) -> tuple[Tensor, Tensor]:
    """The loss, and log-mel alone, of all hops of crops but the first ones."""
    gains = network(crops.condition)
    # A gain is that of the end of its hop; before the first one there is no other.
    heard = synth(torch.cat([gains[:, :1], gains], 1), crops.modes, crops.noise)
    factors = levels.factors(crops.index, heard, crops.recorded)
    first = warm * synth.hop - FFT // 2  # frames reach back into the hops before those that count
    heard, recorded = heard[:, first:], crops.recorded[:, first:]
    level = _level_difference(heard, recorded)
    heard = heard * factors
    log_mel = distance.log_mel(heard, recorded, crops.floor)
    return log_mel + CONVERGENCE * spectral_convergence(heard, recorded) + LEVEL * level, log_mel


def _rate(step: int, training: Training) -> float:
    """Learning rate: up in a straight line for a twentieth of the steps, then down along a cosine."""
    done = step / training.steps
    return (
        training.rate * min(1.0, (step + 1) / (0.05 * training.steps)) * 0.5 * (1 + math.cos(math.pi * done))
    )


def _optimiser(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    """AdamW, with weight decay where the network allows it."""
    named = list(network.named_parameters())
    groups = [
        {
            "params": [parameter for name, parameter in named if network.decays(name, parameter) == decays],
            "weight_decay": training.decay * decays,
        }
        for decays in (True, False)
    ]
    return torch.optim.AdamW(groups, lr=training.rate)


@torch.no_grad()
def _follow(averaged: nn.Module, network: nn.Module, kept: float) -> None:
    """Move averaged weights towards those of the network."""
    for mean, parameter in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(parameter, 1 - kept)


def _level_difference(heard: Tensor, recorded: Tensor) -> Tensor:
    """Mean |difference| in dB of the levels of sounds [b, time]."""
    ratio = heard.square().sum(1) / recorded.square().sum(1).clamp_min(1e-6)
    return DB * ratio.clamp_min(1e-6).log().abs().mean()


@torch.no_grad()
def measure(
    network: nn.Module | None, tracks: Sequence[Track], synth: HeardSound, distance: Distance, part: slice
) -> list[Figures]:
    """Figures of every piece, played from its beginning with gains of a network, or by the piano alone."""
    rows = []
    for track in tracks:
        hops = min(part.stop // synth.hop + 8, len(track.condition))
        modes, noise, condition, recorded = track.part(0, hops, synth)
        gains = gains_of(network, condition, synth.of_noise.shape[0] + synth.ages * synth.bands)
        heard = synth(gains[None], modes[None], noise[None])[0]
        rows.append(distance.figures(heard[part], recorded[part]))
    return rows


@torch.no_grad()
def gains_of(network: nn.Module | None, condition: Tensor, values: int) -> Tensor:
    """[l + 1, k] gains at the borders of a whole piece, 0 at first, of its condition [l, c]."""
    nothing = condition.new_zeros(1 + (network is None) * len(condition), values)
    return nothing if network is None else torch.cat([nothing, network(condition[None])[0]])
