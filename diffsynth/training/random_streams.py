"""Seeds of random generators, one for every stream of random numbers of a training run.

On a CPU torch keeps the lowest 32 bits of a seed and drops the others without a word, so that seeds that
differ by 2 ** 32 would draw the same numbers. What does not fit is hashed to 32 bits here.
"""

import hashlib

import numpy as np

SEEDS = 1 << 32  # number of different seeds of torch's generator
STRIDE = 1_000_003  # between the first steps of two runs whose seeds follow each other


def weights_seed(seed: int) -> int:
    """Of the fresh weights of a run, and of its validation."""
    return seed if seed < SEEDS else _hashed("weights", seed)


def batch_seed(seed: int, step: int) -> int:
    """Of noise levels and noise of one step."""
    number = seed * STRIDE + step
    return number if number < SEEDS else _hashed("batch", seed, step)


def dropout_seed(seed: int, step: int, row: int) -> int:
    """Of what layers drop of one row of the batch of a step."""
    return _hashed("dropout", seed, step, row)


def generator(stream: str, *numbers: int) -> np.random.Generator:
    """NumPy's generator of a stream of its own: the order of an epoch, say."""
    return np.random.default_rng(int.from_bytes(_digest(stream, *numbers), "big"))


def _hashed(stream: str, *numbers: int) -> int:
    return int.from_bytes(_digest(stream, *numbers)[:4], "big")


def _digest(stream: str, *numbers: int) -> bytes:
    return hashlib.sha256(" ".join([stream, *map(str, numbers)]).encode()).digest()
