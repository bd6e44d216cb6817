"""The traced step against the network and the sampler that it was made of."""

import numpy as np
import pytest
import torch

from diffsynth.diffusion import sample
from diffsynth.representation.gain_field import GainField
from diffsynth.synthesis.block_step import TorchStep


@pytest.mark.parametrize("model", ["lstm", "s6"])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_computes_what_network_and_sampler_compute(make_voice, model, steps):
    voice = make_voice(model)
    features, denoiser = voice.config.features, voice.denoiser
    hops, values, width = voice.config.hops, features.values, GainField.width(features)
    step = TorchStep(denoiser, (hops, width), (hops, values), steps)
    memory, state = step.initial(), denoiser.initial_state(1)
    rng = np.random.default_rng(0)
    for _ in range(3):
        condition = rng.random((hops, width), dtype=np.float32)
        noise = rng.standard_normal((hops, values), dtype=np.float32)
        found, memory = step(condition, noise, memory)
        with torch.no_grad():
            context, state = denoiser.encode(torch.from_numpy(condition)[None, None], state)
            expected = sample(
                lambda x_t, sigma, context=context: denoiser.denoise(x_t, sigma, context),
                torch.from_numpy(noise)[None, None],
                steps,
            )
        np.testing.assert_allclose(found, expected[0, 0].numpy(), atol=1e-6)
        for mine, theirs in zip(memory, state, strict=True):
            np.testing.assert_allclose(mine, theirs.numpy(), atol=1e-6)


def test_a_step_leaves_the_memory_it_is_given_as_it_was(make_voice):
    voice = make_voice("lstm")
    width = GainField.width(voice.config.features)
    step = TorchStep(
        voice.denoiser, (voice.config.hops, width), (voice.config.hops, voice.config.features.values), 1
    )
    memory = step.initial()
    inputs = np.ones((2, width), np.float32), np.ones((2, voice.config.features.values), np.float32)
    first, after = step(*inputs, memory)
    assert not any(array.any() for array in memory)
    assert all(array.any() for array in after)
    again, _ = step(*inputs, memory)
    np.testing.assert_array_equal(again, first)
