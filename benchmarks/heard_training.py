"""Training of gains through the spectra that are heard (`heard_sound`), in crops of pieces held in memory.

Shapes: b crops, l hops, c values of a condition, k gains, a ages.
"""

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
from diffsynth.training.config import Train
from diffsynth.training.optimiser import kept, learning_rate, make_optimiser

CONVERGENCE, LEVEL = 1.0, 0.02  # weights in the loss, beside that of log-mel in dB
AVERAGE = 0.995  # what a step keeps of the averaged weights
PRIOR, KEPT = 4.0, 0.999  # crops that a running level begins with, and what a step keeps of it
SEEN = 0.97  # what a step keeps of the running mean that is printed


@dataclass(frozen=True)
class Track:
    """A piece on the device, or b crops; modes and noise reach half a window beyond the recording.

    Attributes:
        modes: [a, time], by age.
        noise: [time].
        condition: [l, c].
        recorded: [time].
        floor: power in a mel band below which nothing counts.
    """

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

    def part(self, start: int, hops: int, synth: HeardSound) -> "Track":
        """Some hops of a piece."""
        sound = slice(start * synth.hop, (start + hops) * synth.hop + synth.window)
        recorded = self.recorded[sound.start : sound.stop - synth.window]
        condition = self.condition[start : start + hops].float()
        return Track(self.modes[:, sound], self.noise[sound], condition, recorded, self.floor)


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


def draw(
    random: np.random.Generator, tracks: Sequence[Track], synth: HeardSound, config: Train
) -> tuple[Tensor, Track]:
    """A batch of crops and of which pieces they are, [b]; every hop of all pieces is about equally likely."""
    lengths, hops = np.array([len(track.condition) for track in tracks]), config.sequence
    index = random.choice(len(tracks), config.batch_size, p=lengths / lengths.sum())
    starts = random.integers(lengths[index] - hops + 1)
    parts = [tracks[i].part(start, hops, synth) for i, start in zip(index, starts.tolist(), strict=True)]
    stacked = map(torch.stack, zip(*(vars(part).values() for part in parts), strict=True))
    return torch.from_numpy(index).to(synth.fade.device), Track(*stacked)


def train(
    network: nn.Module, tracks: Sequence[Track], synth: HeardSound, distance: Distance, config: Train
) -> Iterator[tuple[int, float, nn.Module]]:
    """Train a network of gains; yields steps done, log-mel of training, and averaged weights to validate."""
    averaged, optimiser = deepcopy(network).eval(), make_optimiser(network, config)
    random, seen = np.random.default_rng(config.seed), 0.0
    levels = RunningLevels(tracks, synth, config.sequence)
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        loss, log_mel = _loss(network, draw(random, tracks, synth, config), synth, distance, levels, config)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimiser.step()
        _follow(averaged, network, kept(step, AVERAGE))
        seen = SEEN * seen + (1 - SEEN) * log_mel.detach()  # stays on the device
        done = step + 1
        if done % config.validate_every == 0 or done == config.steps:
            yield done, float(seen) / (1 - SEEN**done), averaged


def _loss(
    network: nn.Module,
    batch: tuple[Tensor, Track],
    synth: HeardSound,
    distance: Distance,
    levels: RunningLevels,
    config: Train,
) -> tuple[Tensor, Tensor]:
    """The loss, and log-mel alone, of all hops of crops but the first ones."""
    index, crops = batch
    gains = network(crops.condition)
    # A gain is that of the end of its hop; before the first one there is no other.
    heard = synth(torch.cat([gains[:, :1], gains], 1), crops.modes, crops.noise)
    factors = levels.factors(index, heard, crops.recorded)
    first = config.warmup * synth.hop - FFT // 2  # frames reach back into the hops before those that count
    heard, recorded = heard[:, first:], crops.recorded[:, first:]
    level = _level_difference(heard, recorded)
    heard = heard * factors
    log_mel = distance.log_mel(heard, recorded, crops.floor)
    return log_mel + CONVERGENCE * spectral_convergence(heard, recorded) + LEVEL * level, log_mel


@torch.no_grad()
def _follow(averaged: nn.Module, network: nn.Module, keeping: float) -> None:
    """Move averaged weights towards those of the network."""
    for mean, parameter in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(parameter, 1 - keeping)


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
        whole = track.part(0, hops, synth)
        gains = gains_of(network, whole.condition, synth.of_noise.shape[0] + synth.ages * synth.bands)
        heard = synth(gains[None], whole.modes[None], whole.noise[None])[0]
        rows.append(distance.figures(heard[part], whole.recorded[part]))
    return rows


@torch.no_grad()
def gains_of(network: nn.Module | None, condition: Tensor, values: int) -> Tensor:
    """[l + 1, k] gains at the borders of a whole piece, 0 at first, of its condition [l, c]."""
    nothing = condition.new_zeros(1 + (network is None) * len(condition), values)
    return nothing if network is None else torch.cat([nothing, network(condition[None])[0]])
