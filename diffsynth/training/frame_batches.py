"""What the published network learns from: blocks of the recordings, each with the block before it.

Read from the shards, audio and events; the features of the modal excitation do not matter here.
"""

import io
import math
from collections.abc import Iterator

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffsynth.audio.channels import mixed
from diffsynth.errors import UserError
from diffsynth.midi.events import to_samples
from diffsynth.representation.piano_roll import RecordedRoll
from diffsynth.representation.stft_frames import Frames, FrameScale
from diffsynth.shards.folders import ShardFolder
from diffsynth.shards.places import Place
from diffsynth.shards.segments import FLAC, read_events
from diffsynth.training.batches import Batch, Examples
from diffsynth.training.config import Train
from diffsynth.training.order import Example, Order
from diffsynth.training.random_streams import generator

SILENCE = 1e-9
MEASURED = 450  # segments that the scale is measured on, an hour of 8 s each


class RecordedBlocks:
    """Blocks of the recordings in a folder of shards, all that have a block before.

    At the start of a performance that is silence; in a segment further on, the first block has none. Only
    what is asked for is read.

    Args:
        folder: path or URL of the shards.
        split: name of the split.
        block: samples in a block, N.
        rate: of the audio in Hz.

    Attributes:
        counts: blocks in every segment of every shard that do not overlap and have one before.

    Raises:
        UserError: the shards are missing or have another rate, or no segment holds a block.
    """

    def __init__(self, folder: Place, split: str, block: int, rate: int) -> None:
        self.block, self.rate = block, rate
        self._shards = ShardFolder(folder, split)
        self._shards.check(sample_rate=rate)
        numbers = range(len(self._shards.shards))
        self._lengths = [self._shards.lengths(number) for number in numbers]
        self._silence = [
            [block if p.first + i == 0 else 0 for p in self._shards.pieces(number) for i in range(p.count)]
            for number in numbers
        ]
        self.counts = [
            [max(0, self.samples(shard, row) // block - 1) for row in range(len(self._lengths[shard]))]
            for shard in numbers
        ]
        if not any(map(any, self.counts)):
            raise UserError(f"no recording holds a block of {block} samples with one before it")

    def samples(self, shard: int, row: int) -> int:
        """Samples of a segment, with the block of silence before a performance."""
        return self._lengths[shard][row] + self._silence[shard][row]

    def pair(self, shard: int, row: int, begin: int) -> tuple[Tensor, Tensor]:
        """Audio of a block and of the one before it, [2, block], earlier one first, and its roll.

        Args:
            shard: number of the shard.
            row: of the segment in it.
            begin: sample of the segment, with the silence before it, that the earlier block begins at.
        """
        tar, silence = self._shards.open(shard), self._silence[shard][row]
        audio = self._audio(shard, row, begin, begin + 2 * self.block)
        events = to_samples(read_events(tar, row), self.rate)
        events["position"] += silence
        roll = RecordedRoll(events).window(begin + self.block, self.block)
        return torch.from_numpy(audio).view(2, self.block), torch.from_numpy(roll)

    def batches(self, frames: Frames) -> Iterator[Tensor]:
        """Frames [b, f, k] of all blocks of segments spread over the split, segment after segment."""
        rows = [(shard, row) for shard, lengths in enumerate(self._lengths) for row in range(len(lengths))]
        count = min(len(rows), MEASURED)
        for shard, row in (rows[i * len(rows) // count] for i in range(count)):
            whole = self.samples(shard, row) // self.block * self.block
            audio = torch.from_numpy(self._audio(shard, row, 0, whole))
            if self.counts[shard][row]:
                yield frames.analyse(audio.view(-1, self.block))

    def _audio(self, shard: int, row: int, begin: int, end: int) -> NDArray[np.float32]:
        """Samples [begin, end) of a segment, counted with the silence before it."""
        silence = self._silence[shard][row]
        with soundfile.SoundFile(io.BytesIO(self._shards.open(shard).read(row, FLAC))) as file:
            file.seek(max(begin - silence, 0))
            heard = mixed(file.read(max(end - max(begin, silence), 0), dtype="float32"))
        return np.pad(heard, (end - begin - len(heard), 0))


class FrameExamples(Examples):
    """Blocks in any order: the roll is the condition, the block before is the state.

    In an epoch the blocks of a segment lie side by side, and what is left over of less than a block is
    before the first and after the last of them, otherwise in each epoch.

    Args:
        recordings: what to draw from.
        scale: of the frames, measured on the training data.
        train: `batch_size`, `seed`.
    """

    def __init__(self, recordings: RecordedBlocks, scale: FrameScale, train: Train) -> None:
        self._recordings, self._scale, self._train = recordings, scale, train
        self._frames = Frames(recordings.block)
        self.seconds = train.batch_size * recordings.block / recordings.rate
        self._ends = [np.cumsum(counts) for counts in recordings.counts]
        self._order = Order([int(ends[-1]) for ends in self._ends], train.seed)

    def draw(self, step: int, rows: slice = slice(None)) -> Batch:
        """Cond [b, 1, keys, k], state [b, 1, f, k] and x [b, 1, f, k]; every value counts the same."""
        first, count = step * self._train.batch_size, self._train.batch_size
        return self._batch([self._order.example(first + row) for row in range(count)[rows]])

    def fixed(self, count: int) -> Batch:
        """As `draw`."""
        return self._batch(self._order.spread(count))

    def heard(self, x: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002
        """The values themselves: nothing more is known of what the ear gets."""
        return x

    def recorded(self, batch: Batch) -> Tensor:
        """See `heard`."""
        return batch.x

    def error_db(self, found: Tensor, batch: Batch) -> float:
        """Energy of the error over that of the frames: 0 dB is as good as silence."""
        error = self._scale.inverse(found - batch.x).square().sum() + SILENCE
        return 10 * math.log10(float(error / (self._scale.inverse(batch.x).square().sum() + SILENCE)))

    def steps(self, epochs: int) -> int:
        """Steps that see every block of the recordings `epochs` times."""
        return math.ceil(epochs * len(self._order) / self._train.batch_size)

    def _place(self, example: Example) -> tuple[int, int, int]:
        """Shard, segment and sample that a pair of blocks begins at."""
        ends, block = self._ends[example.shard], self._recordings.block
        row = int(np.searchsorted(ends, example.item, side="right"))
        number = example.item - (int(ends[row - 1]) if row else 0)
        spare = self._recordings.samples(example.shard, row) % block
        moved = generator("blocks", self._train.seed, example.epoch, example.shard, row).integers(spare + 1)
        return example.shard, row, int(moved) + number * block

    def _batch(self, examples: list[Example]) -> Batch:
        pairs, rolls = zip(*(self._recordings.pair(*self._place(e)) for e in examples), strict=True)
        data = self._scale.forward(self._frames.analyse(torch.cat(pairs))).unflatten(0, (len(pairs), 2))
        x = data[:, 1:]
        return Batch.of_data(torch.stack(rolls)[:, None], (data[:, :1].contiguous(),), x)
