"""The networks: one interface, `Denoiser`, and what implements it."""

from diffsynth.config import S6, Lstm, Unet
from diffsynth.models.lstm import LstmDenoiser
from diffsynth.models.parts.denoiser import Denoiser, State
from diffsynth.models.s6 import S6Denoiser
from diffsynth.models.unet import UnetDenoiser

__all__ = ["Denoiser", "LstmDenoiser", "S6Denoiser", "State", "UnetDenoiser", "build_denoiser"]


def build_denoiser(config: Lstm | S6 | Unet, bands: int, cond: int) -> Denoiser:
    """The denoiser that a config section describes, with fresh weights.

    Args:
        config: Section of `params.yaml`; its type chooses the model.
        bands: Values in a frame, k: gains, or bins of a spectrum.
        cond: Features in a frame of the condition, c, or rows of the piano roll.
    """
    if isinstance(config, Unet):
        return UnetDenoiser(config, bands, cond)
    if isinstance(config, Lstm):
        return LstmDenoiser(config, bands, cond)
    return S6Denoiser(config, bands, cond)
