"""What `diffsynth train` trains and on what: examples of both splits and the voice that comes of it.

The one place where a command has to know what a model diffuses.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from diffsynth.config import Params, Unet
from diffsynth.models import Denoiser
from diffsynth.piano.piano import load_piano
from diffsynth.representation.features import load_features
from diffsynth.representation.stft_frames import Frames, FrameScale
from diffsynth.shards.segments import read_shards
from diffsynth.synthesis.frame_voice import FrameConfig, FrameVoice
from diffsynth.synthesis.gain_voice import Voice, VoiceConfig
from diffsynth.synthesis.weights import AnyConfig, AnyVoice
from diffsynth.training.batches import Examples, GainExamples
from diffsynth.training.frame_batches import FrameExamples, RecordedBlocks
from pipeline import paths


@dataclass(frozen=True)
class Task:
    """One model at one block size.

    Attributes:
        config: of the voice.
        train: examples to learn from.
        validation: examples to measure by.
        voice: makes the voice of a network.
        sources: files that all of this was read from.
    """

    config: AnyConfig
    train: Examples
    validation: Examples
    voice: Callable[[Denoiser], AnyVoice]
    sources: list[Path]


def make_task(params: Params, model: str, block: int, data: Path) -> Task:
    """The task of a model, from what earlier stages have written under `data`."""
    network, sources = params.model(model), list(paths.training_data(data, model))
    if isinstance(network, Unet):
        config = FrameConfig(model, block, params.audio, network)
        return _frame_task(config, sources)
    # How many processes computed the features says nothing about the voice.
    features = replace(params.features, workers=1)
    return _gain_task(VoiceConfig(model, block, params.audio, features, network), params, sources)


def _gain_task(config: VoiceConfig, params: Params, sources: list[Path]) -> Task:
    """Gains of the modal excitation, from the features."""
    data, validation, piano = load_features(sources[0]), load_features(sources[1]), load_piano(sources[2])
    normaliser = data.normaliser()
    train, valid = (GainExamples(x, normaliser, config.frames, params.train) for x in (data, validation))
    return Task(config, train, valid, lambda network: Voice(config, network, piano, normaliser), sources)


def _frame_task(config: FrameConfig, sources: list[Path]) -> Task:
    """STFT frames, from the shards."""
    shards, block, rate = sources[-1].parent, config.block, config.audio.sample_rate
    data, validation = (
        RecordedBlocks(read_shards(shards, split), block, rate) for split in ("train", "validation")
    )
    scale = FrameScale.measure(data.batches(Frames(block)), block)
    train, valid = (FrameExamples(part, scale) for part in (data, validation))
    return Task(config, train, valid, lambda network: FrameVoice(config, network, scale), sources)
