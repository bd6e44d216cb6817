"""Parameters of a project that a test can afford, and a process as it was before a command ran in it."""

from contextlib import contextmanager

SMALL = {
    "shard": {"segment": 4.0, "context": 2.0, "megabytes": 0.1, "fewest": 3},
    "fit": {"partials": 12},
    "features": {"bands": 20, "noise_bands": 10},
    "train": {
        "steps": 8,
        "batch_size": 4,
        "mini_batch_size": 4,
        "sequence": 64,
        "warmup": 16,
        "validate_every": 4,
        "stream_seconds": 1.0,
    },
    "lstm": {"units": 12, "layers": 1, "cond_units": 10},
    "s6": {"units": 12, "layers": 1, "state": 4, "cond_units": 10},
    "unet": {"width": 8},
}


@contextmanager
def torch_as_it_was():
    """Undoes what commands set for their process, so that the next test starts from what was."""
    import torch

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
