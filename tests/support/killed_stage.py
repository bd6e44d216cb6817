"""A stage that is killed in its own process, with no chance to clean up."""

import signal

from support.own_process import start_python

KILLED = """
import os, signal
from pathlib import Path
import {recorder} as recorder
from {module} import {function}
from diffsynth.alignment.config import Align
from diffsynth.audio.format import AudioFormat
from diffsynth.representation.config import Features
from diffsynth.shards.config import Shard
PosixPath = Path
left, record = [{items}], recorder.record
def record_and_die(*arguments):
    record(*arguments)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
recorder.record = record_and_die
{function}(*{arguments})
"""


def kill(function, arguments, recorder, folder, items=2):
    """Call a function of the library in a process that is killed once so many items are recorded as done.

    `recorder` is the module that records them; arguments are written as their `repr`.
    """
    code = KILLED.format(
        recorder=recorder.__name__,
        module=function.__module__,
        function=function.__name__,
        items=items,
        arguments=repr(list(arguments)),
    )
    child = start_python(code, folder, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    output, _ = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, output
