"""Commands as people run them: as a process of its own, in another folder, with another environment."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def command(folder, *arguments, code=ROOT, timeout=120, **environment):
    """A finished `diffsynth` that ran in `folder`, with its output as bytes; None removes a variable."""
    known = {**os.environ, "PYTHONPATH": str(code), **environment}
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(os.fsencode, map(str, arguments))],
        cwd=folder,
        env={name: value for name, value in known.items() if value is not None},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
