"""A real Dask scheduler with workers on loopback, each a process of its own."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

from diffsynth.errors import UserError
from diffsynth.runs.files import read_json
from support.own_process import ROOT


@contextmanager
def dask_cluster(folder, log, workers=2, path=ROOT, **variables):
    """Yield the address of a scheduler whose workers stand in `folder`; logs go to the folder `log`.

    `path` is where workers find the library; `variables` are added to their environment.
    """
    place = log / "scheduler.json"
    environment = {**os.environ, **variables, "PYTHONPATH": f"{path}{os.pathsep}{ROOT / 'tests'}"}
    with ExitStack() as running:

        def start(name, *words):
            file = running.enter_context((log / name).open("w"))
            command = [sys.executable, "-m", "dask", *words, "--scheduler-file", str(place), "--no-dashboard"]
            child = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
            running.callback(child.wait)
            running.callback(child.terminate)
            return child

        children = [start("scheduler.log", "scheduler", "--host", "127.0.0.1", "--port", "0")]
        wait_for(place.is_file, children)
        for number in range(workers):
            children.append(start(f"{number}.log", "worker", "--nthreads", "1", "--no-nanny"))
            wait_for(lambda file=log / f"{number}.log": "Starting established" in file.read_text(), children)
        yield read_json(place)["address"]


def wait_for(condition, children, seconds=60):
    """Wait until a condition holds, as long as the children live."""
    end = time.monotonic() + seconds
    while not condition():
        assert all(child.poll() is None for child in children)
        assert time.monotonic() < end
        time.sleep(0.05)


def place(_):
    """The worker that a job runs on."""
    from distributed import get_worker

    return get_worker().address


def refuse(number):
    """A job that finds something wrong."""
    raise UserError(f"shard {number} is damaged")


def die(number):
    """A job that costs a worker its life, as the system does where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
