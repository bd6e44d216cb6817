"""One of several processes that train together, by the environment that `torchrun` gives it.

    python two_ranks.py FOLDER

trains both models, and writes the losses, and a checkpoint from half way. Then the last process is killed in
the middle of a training: the others say so and end.
"""

import json
import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from diffsynth.errors import UserError
from diffsynth.training.checkpoint import save_checkpoint
from diffsynth.training.machine import Machine
from diffsynth.training.origin import Origin
from diffsynth.training.ranks import joined
from support.small_training import NETWORKS, TRAIN, feature_set, make_trainer

STEPS, HALF = 50, 25
LONG = replace(TRAIN, steps=STEPS, batch_size=5, mini_batch_size=2, validate_every=STEPS)
KILLED = 3  # step
ORIGIN = Origin({"train.steps": STEPS}, {}, {})


def uneven():
    """Rows that count for very different amounts."""
    return feature_set(loudness=np.array([1.0, 0.1, 0.01, 0.5, 0.0])[:, None, None])


def trained(folder, model, ranks):
    """Losses of all steps; the first process writes the checkpoint."""
    trainer, losses = make_trainer(model, LONG, uneven(), machine=Machine(ranks=ranks)), []
    for row in trainer.steps():
        losses.append(row["loss"])
        if trainer.progress.step == HALF and ranks.first:
            save_checkpoint(folder / model, ORIGIN, trainer.tensors(), asdict(trainer.progress))
    return losses


def main(folder):
    """All of it."""
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as ranks:
        found = {model: trained(folder, model, ranks) for model in NETWORKS}
        (folder / f"{ranks.rank}.json").write_text(json.dumps(found))
        trainer = make_trainer(train=LONG, machine=Machine(ranks=ranks))
        for _ in trainer.steps():
            if trainer.progress.step == KILLED and ranks.rank == ranks.count - 1:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
