"""Fake samples of the Salamander Grand Piano."""

import re

import numpy as np

from diffsynth.datasets.salamander.packages import PACKAGES

RATE = 16000  # fake samples
NAMES = [name for package in PACKAGES for name in package.samples]


def fake_sample(name):
    """A tone that begins after some silence, which tells the layer of a strike; [time, 2]."""
    layer = re.fullmatch(r"[A-G]#?\dv(\d+)", name)
    silence = 100 + 10 * int(layer[1]) if layer else 0
    tone = 0.5 * np.cos(np.arange(800) / 5)
    return np.concatenate([np.zeros((silence, 2)), np.stack([tone, 0.5 * tone], axis=1)])
