"""The networks: one interface, `Denoiser`, and what implements it."""

from diffsynth.config import S6, Lstm
from diffsynth.models.denoiser import Denoiser, State
from diffsynth.models.lstm import LstmDenoiser
from diffsynth.models.s6 import S6Denoiser

__all__ = ["Denoiser", "LstmDenoiser", "S6Denoiser", "State", "build_denoiser"]


def build_denoiser(config: Lstm | S6, bands: int, cond: int) -> Denoiser:
    """The denoiser that a config section describes, with fresh weights.

    Args:
        config: Section of `params.yaml`; its type chooses the model.
        bands: Gains in a frame, k.
        cond: Features in a frame of the condition, c.
    """
    if isinstance(config, Lstm):
        return LstmDenoiser(config, bands, cond)
    return S6Denoiser(config, bands, cond)
