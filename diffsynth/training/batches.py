"""Training data as the trainer sees it: batches at random, and what an error means to the ear."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from diffsynth.errors import UserError
from diffsynth.models.parts.denoiser import State
from diffsynth.representation.features import FeatureSet
from diffsynth.representation.gain_field import Normaliser
from diffsynth.training.config import Train

NEPER = 20 / math.log(10)  # dB


@dataclass(frozen=True)
class Batch:
    """Sequences of t blocks each.

    Attributes:
        cond: [b, t, ..] condition, of whatever shape the model wants for a block.
        state: of the network before the first block; None if sequences begin with the condition.
        x: [b, t, f, k] clean data, normalised.
        weight: [b, t, f, k] how much each value counts.
    """

    cond: Tensor
    state: State | None
    x: Tensor
    weight: Tensor

    def part(self, rows: slice) -> "Batch":
        """Some of the sequences."""
        state = None if self.state is None else tuple(tensor[rows] for tensor in self.state)
        return Batch(self.cond[rows], state, self.x[rows], self.weight[rows])


class Examples(ABC):
    """One split of the data, in the form that one model and block size needs."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """`count` random sequences; only the generator decides which."""

    @abstractmethod
    def error_db(self, found: Tensor, batch: Batch) -> float:
        """How far data that was sampled, [b, t, f, k], is from that of the batch; less is better."""

    @abstractmethod
    def steps(self, epochs: int, batch_size: int) -> int:
        """Optimiser steps that see as much as `epochs` passes over the data."""


class GainExamples(Examples):
    """Sequences of whole blocks, as long as fit into `train.sequence` frames.

    Args:
        data: features of all segments.
        normaliser: of the gains, measured on the training data.
        frames: in a block, f.
        train: `sequence`, and `warmup`: the first frames of a sequence, which carry no loss.

    Raises:
        UserError: no sequence can be cut like that.
    """

    def __init__(self, data: FeatureSet, normaliser: Normaliser, frames: int, train: Train) -> None:
        _check(train, data, frames)
        self._data, self._frames, self._warmup = data, frames, train.warmup
        self._sequence, self._length = train.sequence, train.sequence // frames * frames
        self._mean = torch.from_numpy(normaliser.mean)
        self._scale = torch.from_numpy(normaliser.scale)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Cond [b, t, f, c], x and weight [b, t, f, k]; no loss on the first frames."""
        data, length = self._data, self._length
        segments = torch.randint(len(data.cond), (count,), generator=generator)
        starts = torch.randint(data.cond.shape[1] - length + 1, (count,), generator=generator)

        def cut(values: Tensor) -> Tensor:
            rows = [
                values[s, i : i + length] for s, i in zip(segments.tolist(), starts.tolist(), strict=True)
            ]
            return torch.stack(rows).float()

        cond, gains, weight = cut(data.cond), cut(data.gains), cut(data.weight)
        weight[:, : self._warmup] = 0
        x = (gains - self._mean) / self._scale
        shape = (-1, self._frames)
        return Batch(cond.unflatten(1, shape), None, x.unflatten(1, shape), weight.unflatten(1, shape))

    def error_db(self, found: Tensor, batch: Batch) -> float:
        """Weighted mean distance of the gains."""
        error = (found - batch.x).abs() * self._scale
        return float((error * batch.weight).sum() / batch.weight.sum().clamp_min(1e-9)) * NEPER

    def steps(self, epochs: int, batch_size: int) -> int:
        """Steps that see as many frames as the segments hold, `epochs` times."""
        segments, frames = self._data.cond.shape[:2]
        return max(1, math.ceil(epochs * segments * frames / (batch_size * self._sequence)))


def _check(train: Train, data: FeatureSet, frames: int) -> None:
    if train.sequence < 1:
        raise UserError("train.sequence must be at least 1")
    if train.sequence > data.cond.shape[1]:
        raise UserError(f"train.sequence is longer than a segment, which has {data.cond.shape[1]} frames")
    if train.sequence // frames * frames <= train.warmup:
        raise UserError(f"train.sequence, in whole blocks of {frames} frames, must exceed train.warmup")
