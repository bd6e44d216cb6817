"""Python code in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start_python(code, folder, **environment):
    """Run `code` in a process of its own, with its output and errors in one pipe."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**known, "PYTHONPATH": str(ROOT), **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def python(code, folder, **environment):
    """What `code` prints in a process of its own."""
    output, _ = start_python(code, folder, **environment).communicate(timeout=120)
    return output
