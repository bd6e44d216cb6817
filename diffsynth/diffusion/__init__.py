"""v-diffusion on a half circle: the process, the loss and the sampler."""

from diffsynth.diffusion.loss import loss, squared_error, total_weight
from diffsynth.diffusion.process import Denoise, alpha_beta, clean, noise_of, noisy, velocity
from diffsynth.diffusion.sampling import sample, sample_levels, schedule

__all__ = [
    "Denoise",
    "alpha_beta",
    "clean",
    "loss",
    "noise_of",
    "noisy",
    "sample",
    "sample_levels",
    "schedule",
    "squared_error",
    "total_weight",
    "velocity",
]
