"""A small denoiser of each recurrent model, and states at random."""

import pytest
import torch
from hypothesis import strategies as st

from diffsynth.models.lstm import Lstm
from diffsynth.models.s6 import S6

BANDS, COND = 5, 7
CONFIGS = [Lstm(12, 2, 10), S6(12, 2, 4, 2, 3, 10)]
configs = pytest.mark.parametrize("config", CONFIGS, ids=["lstm", "s6"])
seeds = st.integers(0, 2**31)


def make_model(config, bands=BANDS, cond=COND):
    """A model with weights as if trained: fresh, its output would be zero."""
    torch.manual_seed(0)
    model = config.new_denoiser(bands, cond)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model


def random_state(model, batch):
    g = torch.Generator().manual_seed(2)
    return tuple(torch.randn(z.shape, generator=g) for z in model.initial_state(batch))
