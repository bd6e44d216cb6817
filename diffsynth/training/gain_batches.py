"""Examples for gains of the modal excitation: sequences of hops, cut from segments."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffsynth.errors import UserError
from diffsynth.representation.feature_shards import FeatureFolder
from diffsynth.representation.normaliser import Normaliser
from diffsynth.representation.targets import Targets
from diffsynth.training.batches import Batch, Examples
from diffsynth.training.config import Train
from diffsynth.training.order import Example, Order
from diffsynth.training.random_streams import generator
from diffsynth.training.spectra import GainSpectra


@dataclass(frozen=True)
class Crop:
    """Hop of a segment that a sequence begins at, and those of which it learns, [low, high)."""

    shard: int
    segment: int
    start: int
    low: int
    high: int


class GainExamples(Examples):
    """Sequences of whole blocks, as long as fit into `train.sequence` hops.

    The sequences of a segment lie side by side: in an epoch every hop carries loss in exactly one, but for
    the first `train.warmup` of a segment. Where they meet differs from epoch to epoch.

    Args:
        data: features of the split.
        normaliser: of the gains, measured on the training data.
        targets: what levels ask for.
        hops: in a block, f.
        train: `sequence`, `batch_size`, `seed`, and `warmup`: the first hops of a sequence, which carry
            no loss.
        spectra: measures sounds; without it none are read.

    Raises:
        UserError: no sequence can be cut like that.
    """

    def __init__(
        self,
        data: FeatureFolder,
        normaliser: Normaliser,
        targets: Targets,
        hops: int,
        train: Train,
        spectra: GainSpectra | None = None,
    ) -> None:
        _check(train, data, hops)
        if spectra is not None:
            spectra.check(train.sequence // hops * hops - train.warmup // hops * hops)
        self._data, self._hops, self._train, self._spectra = data, hops, train, spectra
        self._targets = targets
        self._length = train.sequence // hops * hops
        self._stride = self._length - train.warmup
        self.seconds = train.batch_size * self._stride * data.hop_seconds
        self._ends = [np.cumsum([self._crops(n) for n in shard]) for shard in data.recorded]
        self._order = Order([int(ends[-1]) for ends in self._ends], train.seed)
        if not len(self._order):
            raise UserError(f"no recording is longer than train.warmup, {train.warmup} hops")
        self._mean = torch.from_numpy(normaliser.mean)
        self._scale = torch.from_numpy(normaliser.scale)
        self._louder = nn.Parameter(torch.zeros(data.pieces))

    def parameters(self, device: torch.device) -> list[nn.Parameter]:
        """How much louder each piece was recorded than the others, in nepers; see `Examples`."""
        self._louder = nn.Parameter(self._louder.detach().to(device))
        return [] if self._spectra is None else [self._louder]

    def draw(self, step: int, rows: slice = slice(None)) -> Batch:
        """Cond [b, t, f, c], x and weight [b, t, f, k]; no loss on the first hops."""
        first, count = step * self._train.batch_size, self._train.batch_size
        examples = [self._order.example(first + row) for row in range(count)[rows]]
        return self._batch([self._crop(example, self._jitter(example)) for example in examples])

    def fixed(self, count: int) -> Batch:
        """As `draw`."""
        return self._batch([self._crop(example, 0.5) for example in self._order.spread(count)])

    def heard(self, x: Tensor, batch: Batch) -> Tensor:
        """Levels in dB of the excitation with the gains that x stands for; see `Targets.heard`."""
        levels = batch.levels.flatten(1, 2)
        return self._targets.heard(self._gains(x), levels).unflatten(1, x.shape[1:3])

    def sound_distance(self, x: Tensor, batch: Batch) -> Tensor:
        """See `Examples`, and `GainSpectra` for the distance."""
        if self._spectra is None or batch.sounds is None:
            return super().sound_distance(x, batch)
        spectra = self._spectra.to(x.device)
        gains = self._gains(x)
        if batch.piece is not None:
            gains = gains + (self._louder - self._louder.mean()).to(x.device)[batch.piece, None, None]
        distance: Tensor = spectra(gains, batch.sounds, batch.learned.flatten(1))
        return distance

    def _gains(self, x: Tensor) -> Tensor:
        """Log gains in nepers, [b, l, k], that data x stand for."""
        return (x * self._scale.to(x) + self._mean.to(x)).flatten(1, 2)

    def recorded(self, batch: Batch) -> Tensor:
        """Levels of the recording in dB."""
        return 10 * batch.levels[..., 0, :]

    def error_db(self, found: Tensor, batch: Batch) -> float:
        """Mean distance of the levels."""
        error = (self.heard(found, batch) - self.recorded(batch)).abs().mean(-1, keepdim=True)
        return float((error * batch.learned).sum() / batch.learned.sum().clamp_min(1.0))

    def steps(self, epochs: int) -> int:
        """Steps that see every hop of the recordings `epochs` times."""
        return math.ceil(epochs * len(self._order) / self._train.batch_size)

    def _crops(self, recorded: int) -> int:
        """Sequences that a segment with so many hops of recording is divided into."""
        return max(0, -(-(recorded - self._train.warmup) // self._stride))

    def _place(self, example: Example) -> tuple[int, int]:
        """The segment of an example in its shard, and its number in the segment."""
        ends = self._ends[example.shard]
        segment = int(np.searchsorted(ends, example.item, side="right"))
        return segment, example.item - (int(ends[segment - 1]) if segment else 0)

    def _jitter(self, example: Example) -> float:
        """Where the sequences of a segment lie in an epoch, 0 to 1."""
        segment, _ = self._place(example)
        return generator("crops", self._train.seed, example.epoch, example.shard, segment).random()

    def _crop(self, example: Example, jitter: float) -> Crop:
        segment, number = self._place(example)
        warmup, recorded = self._train.warmup, self._data.recorded[example.shard][segment]
        spare = self._crops(recorded) * self._stride - (recorded - warmup)
        begin = number * self._stride - int(jitter * (spare + 1))
        start = min(max(begin, 0), self._data.hops - self._length)
        high = min(begin + self._length, recorded)
        return Crop(example.shard, segment, start, max(begin, 0) + warmup, high)

    def _batch(self, crops: Sequence[Crop]) -> Batch:
        columns = zip(*(self._read(crop) for crop in crops), strict=True)
        blocks = (torch.from_numpy(np.stack(column)).unflatten(1, (-1, self._hops)) for column in columns)
        cond, levels, gains, weight, learned = (tensor.float() for tensor in blocks)
        lead = self._train.warmup // self._hops
        x = (gains - self._mean) / self._scale
        piece = torch.tensor([self._data.piece(crop.shard, crop.segment) for crop in crops])
        return Batch(cond, None, x, weight, levels, learned, self._sounds(crops), piece, lead)

    def _sounds(self, crops: Sequence[Crop]) -> Tensor | None:
        """Sounds of sequences and of so many hops around each as spectra see, [b, l + 2 margin, ..]."""
        if self._spectra is None:
            return None
        margin, length, read = self._spectra.margin, self._length, self._data.read_sounds
        spans = [(c, c.start - margin, c.start + length + margin) for c in crops]
        return torch.from_numpy(np.stack([read(c.shard, c.segment, *span) for c, *span in spans]))

    def _read(self, crop: Crop) -> tuple[NDArray[np.floating], ...]:
        cond, levels = self._data.read(crop.shard, crop.segment, slice(crop.start, crop.start + self._length))
        gains, weight = self._targets(levels)
        hop = np.arange(crop.start, crop.start + self._length)[:, None]
        learned = ((crop.low <= hop) & (hop < crop.high)).astype(np.float32)
        return cond, levels, gains, weight * learned, learned


def _check(train: Train, data: FeatureFolder, hops: int) -> None:
    if train.sequence < 1:
        raise UserError("train.sequence must be at least 1")
    if train.sequence > data.hops:
        raise UserError(f"train.sequence is longer than a segment, which has {data.hops} hops")
    if train.sequence // hops * hops <= train.warmup:
        raise UserError(f"train.sequence, in whole blocks of {hops} hops, must exceed train.warmup")
