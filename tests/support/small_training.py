"""Training of small networks on gains that follow the condition."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from diffsynth.audio.format import AudioFormat
from diffsynth.models.lstm import Lstm
from diffsynth.models.s6 import S6
from diffsynth.representation.config import Features
from diffsynth.representation.heard_sound import HeardSound
from diffsynth.representation.normaliser import Normaliser
from diffsynth.representation.targets import Targets
from diffsynth.training.config import Diffusion, Train
from diffsynth.training.gain_batches import GainExamples
from diffsynth.training.spectra import GainSpectra
from diffsynth.training.trainer import Trainer
from support.feature_folders import Arrays, levels_of

BANDS, COND, HOPS = 6, 8, 4
# A window so short that it sees one gain: a network can then answer exactly.
FEATURES = Features(BANDS, 0, highest=5000.0, knee=700.0, window=2, floor=-80.0, hop=1, ages=[1.0])
TARGETS = Targets(FEATURES, AudioFormat(24000, 128))
TRAIN = Train(
    steps=6,
    batch_size=4,
    mini_batch_size=4,
    sequence=32,
    warmup=8,
    learning_rate=1e-2,
    weight_decay=1e-2,
    clip=1.0,
    validate_every=2,
    stream_seconds=1.0,
    patience=0,
    max_skipped=3,
    seed=3,
)
DIFFUSION = Diffusion(objective="velocity", ema=0.9, validation_sigmas=[0.2, 0.8])
NETWORKS = {"lstm": Lstm(16, 1, 12, 4, 1, 0.1), "s6": S6(16, 1, 12, 4, 1, 0.1, 4, 2, 3)}
models = pytest.mark.parametrize("model", NETWORKS)


def feature_set(segments=5, frames=48, seed=0, loudness=1.0):
    """Gains of +1 or -1 neper in all bands, as the first condition says; the others mean nothing.

    `loudness` broadcasts to [segments, frames, BANDS].
    """
    generator = torch.Generator().manual_seed(seed)
    cond = torch.randn(segments, frames, COND, generator=generator)
    sign = torch.randn(segments, frames // 8, generator=generator).sign().repeat_interleave(8, 1)
    cond[..., 0] = sign
    gains = sign[..., None] * torch.linspace(0.5, 1.5, BANDS)
    return Arrays(cond.half().numpy(), levels_of(gains.numpy(), loudness), sounds=sounds_of(sign.numpy()))


def sounds_of(sign):
    """[segments, frames, 2, 128] noise, and before it the same louder or softer by 1 neper."""
    noise = 0.01 * np.random.default_rng(0).standard_normal((*sign.shape, 1, 128))
    return np.concatenate([noise * np.exp(sign)[..., None, None], noise], axis=2).astype(np.float32)


def examples(data=None, train=TRAIN, spectra=None):
    normaliser = Normaliser(np.zeros(BANDS, np.float32), np.ones(BANDS, np.float32))
    return GainExamples((data or feature_set()).opened(FEATURES), normaliser, TARGETS, HOPS, train, spectra)


def spectra():
    """Measures the sound of gains in windows of two hops."""
    return GainSpectra(HeardSound(replace(FEATURES, window=256), np.zeros(0), AudioFormat(24000, 128)), 24000)


def opposite():
    """Data of which nothing is learned from the others: gains are the other way round."""
    data = feature_set(4, seed=9)
    data.cond[..., 0] *= -1
    return data


def make_trainer(model="lstm", train=TRAIN, data=None, weights=0, validation=None, **options):
    torch.manual_seed(weights)
    network = NETWORKS[model].new_denoiser(BANDS, COND)
    measure = spectra() if DIFFUSION.objective == "spectra" else None
    validation = examples(validation or feature_set(4, seed=9), train, measure)
    return Trainer(network, examples(data, train, measure), validation, train, DIFFUSION, **options)


def run(trainer, steps=None):
    return list(islice(trainer.steps(), steps))


def parameters(trainer):
    return {name: value.clone() for name, value in trainer.denoiser.state_dict().items()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
