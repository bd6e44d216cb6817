"""What the published network learns from: blocks of the recordings, each with the block before it.

Read from the shards, audio and events; the features of the modal excitation do not matter here.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from diffsynth.errors import UserError
from diffsynth.midi.events import to_samples
from diffsynth.representation.piano_roll import RecordedRoll
from diffsynth.representation.stft_frames import Frames, FrameScale
from diffsynth.shards.segments import Segment
from diffsynth.training.batches import Batch, Examples

FULL_SCALE = 32768  # audio is kept as 16 bits, as in the shards, because hours of it have to fit in memory
SILENCE = 1e-9


class RecordedBlocks:
    """Audio and rolls of segments, and all blocks in them that have a block before.

    At the start of a performance that is silence; in a segment further on, the first block has none.

    Args:
        segments: In any order.
        block: Samples in a block, N.
        rate: Of the audio in Hz.

    Raises:
        UserError: no segment holds a block.
    """

    def __init__(self, segments: Iterable[Segment], block: int, rate: int) -> None:
        self.block = block
        self._audio: list[Tensor] = []
        self._rolls: list[RecordedRoll] = []
        starts = [0]
        for segment in segments:
            audio = segment.audio[: round(segment.seconds * rate)]  # what follows is padding
            before = np.zeros(block if segment.start == 0 else 0, np.float32)
            samples = np.rint(np.concatenate([before, audio]) * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1)
            if len(samples) >= 2 * block:
                events = to_samples(segment.events, rate)
                events["position"] += len(before)
                self._audio.append(torch.from_numpy(samples.astype(np.int16)))
                self._rolls.append(RecordedRoll(events))
                starts.append(starts[-1] + len(samples) - 2 * block + 1)
        if len(starts) == 1:
            raise UserError(f"no recording holds a block of {block} samples with one before it")
        self._starts = np.array(starts)

    def __len__(self) -> int:
        """Number of blocks, one for every sample that one can begin at."""
        return int(self._starts[-1])

    @property
    def samples(self) -> int:
        """Samples of audio in all."""
        return sum(len(audio) for audio in self._audio)

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Audio of a block and of the one before it, [2, block], earlier one first, and its roll."""
        segment = int(np.searchsorted(self._starts, index, side="right")) - 1
        begin = index - int(self._starts[segment])
        audio = self._audio[segment][begin : begin + 2 * self.block].float() / FULL_SCALE
        roll = self._rolls[segment].window(begin + self.block, self.block)
        return audio.view(2, self.block), torch.from_numpy(roll)

    def batches(self, frames: Frames) -> Iterator[Tensor]:
        """Frames [b, f, k] of all that is heard, block after block, by segment."""
        for audio in self._audio:
            whole = audio[: len(audio) // self.block * self.block]
            yield frames.analyse(whole.view(-1, self.block).float() / FULL_SCALE)


class FrameExamples(Examples):
    """Blocks at random: the roll is the condition, the block before is the state.

    Args:
        recordings: What to draw from.
        scale: Of the frames, measured on the training data.
    """

    def __init__(self, recordings: RecordedBlocks, scale: FrameScale) -> None:
        self._recordings, self._scale = recordings, scale
        self._frames = Frames(recordings.block)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Cond [b, 1, keys, k], state [b, 1, f, k] and x [b, 1, f, k]; every value counts the same."""
        index = torch.randint(len(self._recordings), (count,), generator=generator)
        pairs, rolls = zip(*(self._recordings.pair(i) for i in index.tolist()), strict=True)
        data = self._scale.forward(self._frames.analyse(torch.cat(pairs))).unflatten(0, (count, 2))
        x = data[:, 1:]
        return Batch(torch.stack(rolls)[:, None], (data[:, :1].contiguous(),), x, torch.ones_like(x))

    def error_db(self, found: Tensor, batch: Batch) -> float:
        """Energy of the error over that of the frames: 0 dB is as good as silence."""
        error = self._scale.inverse(found - batch.x).square().sum() + SILENCE
        return 10 * math.log10(float(error / (self._scale.inverse(batch.x).square().sum() + SILENCE)))

    def steps(self, epochs: int, batch_size: int) -> int:
        """Steps that see as many samples as the recordings hold, `epochs` times."""
        seen = batch_size * self._recordings.block
        return max(1, math.ceil(epochs * self._recordings.samples / seen))
