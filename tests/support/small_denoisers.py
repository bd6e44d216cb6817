"""A small denoiser of each recurrent model, and states at random."""

import pytest
import torch
from hypothesis import strategies as st

from diffsynth.models.lstm import Lstm
from diffsynth.models.s6 import S6

BANDS, COND = 5, 7
TRUNKS = [Lstm(12, 2, 10, 1, 0, 0.0), S6(12, 2, 10, 1, 0, 0.0, 4, 2, 3)]
CONFIGS = [*TRUNKS, Lstm(12, 2, 10, 4, 2, 0.2), S6(12, 2, 10, 4, 2, 0.2, 4, 2, 3)]
configs = pytest.mark.parametrize("config", CONFIGS, ids=["lstm", "s6", "lstm in bands", "s6 in bands"])
seeds = st.integers(0, 2**31)


def make_model(config, bands=BANDS, cond=COND, **layout):
    """A model with weights as if trained: fresh, its output would be zero. Nothing is dropped."""
    torch.manual_seed(0)
    model = config.new_denoiser(bands, cond, **layout).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model


def random_state(model, batch):
    g = torch.Generator().manual_seed(2)
    return tuple(torch.randn(z.shape, generator=g) for z in model.initial_state(batch))
