"""Where the project is whose runs and checkpoints are to be kept."""

import os
from pathlib import Path


def project_root() -> Path:
    """The folder of the project: the current one, or the one that a temporary copy was made of.

    `dvc exp run --temp` and `--queue` run the stages in a copy of the project below its `.dvc/tmp`, which
    is removed afterwards, and name the project itself in DVC_ROOT.
    """
    here, named = Path.cwd(), os.environ.get("DVC_ROOT")
    if named and here.is_relative_to((Path(named) / ".dvc" / "tmp").resolve()):
        return Path(named).resolve()
    return here
