"""Training a voice of frames: from the shards alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from diffsynth.models.parts.denoiser import Denoiser
from diffsynth.representation.stft_frames import Frames, FrameScale
from diffsynth.shards.folders import index_file
from diffsynth.synthesis.frame_voice import FrameVoice
from diffsynth.synthesis.voice import Voice
from diffsynth.training.config import Train
from diffsynth.training.frame_batches import FrameExamples, RecordedBlocks
from diffsynth.training.task import Inputs, Task


@dataclass(frozen=True)
class FrameTask(Task):
    """STFT frames of the recordings."""

    scale: FrameScale

    @staticmethod
    def files(inputs: Inputs) -> dict[Path, str]:
        """The shards."""
        return {index_file(inputs.shards): "shard"}

    @classmethod
    def read(cls, config: Any, train: Train, inputs: Inputs, begin: Voice | None = None) -> Self:
        """See `Task`."""
        block, rate = config.block, config.audio.sample_rate
        data, validation = (
            RecordedBlocks(inputs.shards, split, block, rate) for split in ("train", "validation")
        )
        if isinstance(begin, FrameVoice):
            scale = begin.normaliser
        else:
            scale = FrameScale.measure(data.batches(Frames(block)), block)
        train_on, validate_on = (FrameExamples(part, scale, train) for part in (data, validation))
        return cls(config, train_on, validate_on, scale)

    def voice(self, denoiser: Denoiser) -> Voice:
        """See `Task`."""
        return FrameVoice(self.config, denoiser, self.scale)
