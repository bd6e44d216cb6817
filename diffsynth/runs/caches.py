"""Folders for what can be computed again, also where the user's own folder cannot be written."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def cache_folders() -> Iterator[Path]:
    """Folders that this user can write, the best first: `~/.cache/diffsynth`, then one among temporary files.

    There may be none. The second kind is of this user alone, because code is loaded from it.
    """
    if user_caches_can_be_written():
        yield _user_caches() / "diffsynth"
    with suppress(OSError):
        yield private_folder()


def user_caches_can_be_written() -> bool:
    """Whether there is, or could be made, a folder for the caches of all programs of this user."""
    try:
        _user_caches().mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(_user_caches(), os.W_OK | os.X_OK)


def private_folder() -> Path:
    """A folder among the temporary files that only this user can write; it stays there.

    Raises:
        OSError: it cannot be made, or something of somebody else has its name.
    """
    folder = Path(tempfile.gettempdir()) / f"diffsynth-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder


def _user_caches() -> Path:
    # A user without an entry in the system's list has no home, and "~" stays what it is.
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")).absolute()
