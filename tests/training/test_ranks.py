"""Several processes that train together: the same losses as one, and an end in one line if one is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support import two_ranks
from support.small_training import TRAIN, make_trainer, models, run

from diffsynth.errors import UserError
from diffsynth.training.checkpoint import load_checkpoint
from diffsynth.training.machine import Machine
from diffsynth.training.ranks import Ranks

ROOT = Path(__file__).parents[2]
SECONDS = 30  # that a process may go on alone


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two processes, as `torchrun` starts them, have trained both models; then the second was killed."""
    folder = tmp_path_factory.mktemp("ranks")
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    started = [
        subprocess.Popen(
            [sys.executable, two_ranks.__file__, str(folder)],
            env={**os.environ, **shared, "PYTHONPATH": path, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        started[1].wait(timeout=120)
        _, error = started[0].communicate(timeout=SECONDS)
        return folder, [process.returncode for process in started], error
    finally:
        for process in started:
            process.kill()


@models
def test_two_processes_reproduce_one(pair, model):
    folder, *_ = pair
    alone = two_ranks.trained(folder / "alone", model, Ranks())
    for rank in "01":
        together = json.loads((folder / f"{rank}.json").read_text())[model]
        assert len(together) == two_ranks.STEPS
        assert together == pytest.approx(alone, rel=1e-5)


@models
def test_one_process_goes_on_from_the_checkpoint_of_two(pair, model):
    folder, *_ = pair
    found = load_checkpoint(folder / model, two_ranks.ORIGIN)
    trainer = make_trainer(model, two_ranks.LONG, two_ranks.uneven(), weights=99)
    trainer.restore(found.tensors, found.numbers)
    rest = [row["loss"] for row in run(trainer)]
    together = json.loads((folder / "0.json").read_text())[model]
    assert rest == pytest.approx(together[two_ranks.HALF :], rel=1e-5)


def test_a_process_that_is_killed_ends_the_others_in_one_line(pair):
    _, codes, error = pair
    assert codes == [1, -signal.SIGKILL]
    advice = "start all of them again to go on from the last checkpoint"
    assert error.splitlines()[-1] == f"another process of this training has ended: {advice}"


class Fixed(Ranks):
    def __init__(self, rank, count):
        self.rank, self.count = rank, count


def test_rows_are_divided_without_rest():
    rows = [row for rank in range(3) for row in range(8)[Fixed(rank, 3).rows(8)]]
    assert rows == list(range(8))


def test_every_process_needs_a_row():
    with pytest.raises(UserError, match=r"train\.batch_size is 4, too small for 5 processes"):
        make_trainer(train=TRAIN, machine=Machine(ranks=Fixed(0, 5)))
