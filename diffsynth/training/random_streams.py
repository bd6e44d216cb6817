"""Seeds of torch's generators, one for every stream of random numbers of a training run.

On a CPU torch keeps the lowest 32 bits of a seed and drops the others without a word, so that seeds that
differ by 2 ** 32 would draw the same numbers. What does not fit is hashed to 32 bits here.
"""

import hashlib

SEEDS = 1 << 32  # that torch's generator tells apart
STRIDE = 1_000_003  # between the first steps of two runs whose seeds follow each other


def weights_seed(seed: int) -> int:
    """Of the fresh weights of a run, and of its validation."""
    return seed if seed < SEEDS else _hashed("weights", seed)


def batch_seed(seed: int, step: int) -> int:
    """Of sequences, noise levels and noise of one step."""
    number = seed * STRIDE + step
    return number if number < SEEDS else _hashed("batch", seed, step)


def dropout_seed(seed: int, step: int) -> int:
    """Of what layers drop in one step."""
    return _hashed("dropout", seed, step)


def _hashed(stream: str, *numbers: int) -> int:
    digest = hashlib.sha256(" ".join([stream, *map(str, numbers)]).encode()).digest()
    return int.from_bytes(digest[:4], "big")
