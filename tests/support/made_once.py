"""What all workers of pytest-xdist share: the first that needs it makes it, the others wait."""

import os

from filelock import FileLock


def made_once(tmp_path_factory, name, make):
    """A folder of this session of pytest, filled by `make`, which is called with it in one worker alone.

    Nobody may change what lies in it.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # that of all workers
    folder, finished = root / name, root / f"{name}.made"
    with FileLock(root / f"{name}.lock"):
        if not finished.exists():
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder
