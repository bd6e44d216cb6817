"""librosa, with a place of its own for what Numba compiles for it in every process.

Numba keeps machine code beside librosa's files by default. Two processes that fill that cache at once can
store the code of one signature under the name of another, and whoever loads it crashes, in every later
run too. Here a process takes the first numbered folder that no other process holds.
"""

import os
from pathlib import Path

from filelock import FileLock, Timeout

VARIABLE = "NUMBA_CACHE_DIR"
MOST = 1000  # processes at once; one more leaves the choice to Numba

_held: list[FileLock] = []  # until the process ends


def own_cache(folder: Path | None = None) -> None:
    """Name Numba a folder that this process alone uses, in the environment, where it looks for one.

    One that the environment names already is left. Where nothing can be written, Numba chooses itself.

    Args:
        folder: holds the numbered folders; by default in the user's folder of caches.
    """
    if VARIABLE not in os.environ and (found := _claim(folder or _user_folder())) is not None:
        os.environ[VARIABLE] = str(found)


def _user_folder() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "diffsynth" / "numba"


def _claim(folder: Path) -> Path | None:
    """The first numbered folder that is free, held until the process ends; None if there is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = (number for number in range(MOST) if _take(folder / f"{number}.lock"))
        number = next(free, None)
    except OSError:
        return None
    return None if number is None else folder / str(number)


def _take(path: Path) -> bool:
    """Lock a file, if no other process has."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    _held.append(lock)
    return True


own_cache()
import librosa  # noqa: E402  after its cache has a place

__all__ = ["librosa", "own_cache"]
