"""librosa, with a place of its own for what Numba compiles for it in every process.

Numba keeps machine code beside librosa's files by default. Two processes that fill that cache at once can
store the code of one signature under the name of another, and whoever loads it crashes, in every later
run too. Here a process takes the first numbered folder that no other process holds.
"""

import os
from pathlib import Path

from filelock import FileLock, Timeout

from diffsynth.errors import UserError
from diffsynth.runs.caches import cache_folders

VARIABLE = "NUMBA_CACHE_DIR"
MOST = 1000  # processes at once; one more leaves the choice to Numba

_held: list[FileLock] = []  # until the process ends


def own_cache() -> None:
    """Name Numba a folder that this process alone uses, in the environment, where it looks for one.

    One that the environment names already is left. Where nothing can be written, Numba chooses itself.
    """
    if VARIABLE not in os.environ:
        claimed = (_claim(folder / "numba") for folder in cache_folders())
        if found := next(filter(None, claimed), None):
            os.environ[VARIABLE] = str(found)


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
try:
    import librosa  # after its cache has a place
except RuntimeError as problem:  # of Numba, which finds no folder that it can write
    raise UserError(f"librosa needs a folder for its compiled code: set {VARIABLE} to one") from problem

__all__ = ["librosa", "own_cache"]
