"""Training a voice of gains: from the features, with the fitted piano."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from diffsynth.models.parts.denoiser import Denoiser
from diffsynth.piano.piano import Piano, load_piano
from diffsynth.representation.features import load_features
from diffsynth.representation.gain_field import Normaliser
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
        """Both feature sets, the piano, and the shards, whose beginning is streamed at validation."""
        return {
            inputs.features / "train.safetensors": "features",
            inputs.features / "validation.safetensors": "features",
            inputs.piano: "fit",
            inputs.shards / "index.json": "shard",
        }

    @classmethod
    def read(cls, config: Any, train: Train, inputs: Inputs) -> Self:
        """See `Task`."""
        data, validation, piano, _ = cls.files(inputs)
        sets = load_features(data), load_features(validation)
        normaliser = sets[0].normaliser()
        train_on, validate_on = (GainExamples(part, normaliser, config.frames, train) for part in sets)
        return cls(config, train_on, validate_on, load_piano(piano), normaliser)

    def voice(self, denoiser: Denoiser) -> Voice:
        """See `Task`."""
        return GainVoice(self.config, denoiser, self.piano, self.normaliser)
