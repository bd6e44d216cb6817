"""Training a voice of gains: from the features, with the fitted piano."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from diffsynth.models.parts.denoiser import Denoiser
from diffsynth.piano.piano import Piano, load_piano
from diffsynth.representation.feature_shards import FeatureFolder
from diffsynth.representation.heard_sound import HeardSound
from diffsynth.representation.normaliser import Normaliser
from diffsynth.representation.targets import Targets
from diffsynth.shards.folders import index_file
from diffsynth.synthesis.gain_voice import GainVoice, check_channels
from diffsynth.synthesis.voice import Voice
from diffsynth.training.config import Train
from diffsynth.training.gain_batches import GainExamples
from diffsynth.training.objectives import objective_of
from diffsynth.training.spectra import GainSpectra
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
        splits = [FeatureFolder(inputs.features, split) for split in ("train", "validation")]
        splits[0].check(config.audio, config.features)
        piano, spectra = load_piano(inputs.piano), None
        check_channels(piano, config)
        if objective_of(config.objective).by_sound:
            heard = HeardSound(config.features, piano.noise.centre, config.audio)
            spectra = GainSpectra(heard, config.audio.sample_rate, config.audio.channels)
            normaliser = Normaliser.around_unity(config.features.values)
        else:
            normaliser = splits[0].moments().normaliser()
        if isinstance(begin, GainVoice):
            normaliser = begin.normaliser
        targets = Targets(config.features, config.audio)
        train_on, validate_on = (
            GainExamples(split, normaliser, targets, config.hops, train, spectra) for split in splits
        )
        return cls(config, train_on, validate_on, piano, normaliser)

    def voice(self, denoiser: Denoiser) -> Voice:
        """See `Task`."""
        return GainVoice(self.config, denoiser, self.piano, self.normaliser)
