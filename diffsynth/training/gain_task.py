"""Training a voice of gains: from the features, with the fitted piano."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from diffsynth.models.parts.denoiser import Denoiser
from diffsynth.piano.piano import Piano, load_piano
from diffsynth.representation.feature_shards import FeatureFolder
from diffsynth.representation.normaliser import Normaliser
from diffsynth.representation.targets import Targets
from diffsynth.shards.folders import index_file
from diffsynth.synthesis.gain_voice import GainVoice
from diffsynth.synthesis.voice import Voice
from diffsynth.training.batches import GainExamples
from diffsynth.training.config import Train
from diffsynth.training.task import Inputs, Task


@dataclass(frozen=True)
class GainTask(Task):
    """Gains of the modal excitation."""

    piano: Piano
    normaliser: Normaliser

    @staticmethod
    def files(inputs: Inputs) -> dict[Path, str]:
        """The features, the piano, and the shards, whose beginning is streamed at validation."""
        return {
            index_file(inputs.features): "features",
            inputs.piano: "fit",
            index_file(inputs.shards): "shard",
        }

    @classmethod
    def read(cls, config: Any, train: Train, inputs: Inputs, begin: Voice | None = None) -> Self:
        """See `Task`."""
        data, validation = (FeatureFolder(inputs.features, split) for split in ("train", "validation"))
        data.check(config.audio, config.features)
        normaliser = begin.normaliser if isinstance(begin, GainVoice) else data.moments().normaliser()
        targets = Targets(config.features, config.audio)
        train_on, validate_on = (
            GainExamples(part, normaliser, targets, config.hops, train) for part in (data, validation)
        )
        return cls(config, train_on, validate_on, load_piano(inputs.piano), normaliser)

    def voice(self, denoiser: Denoiser) -> Voice:
        """See `Task`."""
        return GainVoice(self.config, denoiser, self.piano, self.normaliser)
