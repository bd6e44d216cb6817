"""Where a folder of shards lies: here, or at any URL that webdataset opens (`https:`, `gs:`, `pipe:` ...).

A shard elsewhere is fetched once for all processes of this machine, into a folder of temporary files, so
that its samples can be read in any order. The oldest go when there are too many.
"""

import hashlib
import os
import re
import shutil
from pathlib import Path

from filelock import FileLock

from diffsynth.errors import UserError
from diffsynth.runs.caches import private_folder
from diffsynth.runs.files import atomic_path, sha256

Place = Path | str
"""A folder: a path, or the text of a URL."""

URL = re.compile(r"pipe:|[a-z][a-z0-9+.-]+://", re.IGNORECASE)
ROOM = 16 << 30  # bytes of fetched shards that stay: eight shards at a time are read from, of 200 MB each


def place(text: str | Path) -> Place:
    """The folder that a user names."""
    return str(text) if URL.match(str(text)) else Path(text)


def within(folder: Place, name: str) -> Place:
    """A file or folder in a folder."""
    return folder / name if isinstance(folder, Path) else f"{folder.rstrip('/')}/{name}"


def local(address: Place, digest: str | None = None) -> Path:
    """The file at an address; what lies elsewhere is fetched, unless it is known by its SHA-256.

    Raises:
        UserError: it cannot be fetched. Whether its contents are right is not checked.
    """
    if isinstance(address, Path):
        return address
    folder = private_folder() / "shards"
    folder.mkdir(exist_ok=True)
    key = digest or hashlib.sha256(address.encode()).hexdigest()
    target = folder / f"{key}{Path(address).suffix}"
    with FileLock(folder / f"{key[:1]}.lock"):
        if digest is None or not target.exists():
            _fetch(address, target)
            if digest is not None and sha256(target) != digest:
                target.unlink()
                raise UserError(f"{address} is damaged: its SHA-256 is not {digest}")
            _make_room(folder, target)
        os.utime(target)
    return target


def _fetch(address: str, target: Path) -> None:
    """Copy what webdataset's opener reads at an address to a file."""
    from webdataset.gopen import gopen  # takes seconds to import

    try:
        with atomic_path(target) as temporary, gopen(address) as source, temporary.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except (OSError, ValueError) as error:
        ended = re.search(r"exit (\d+)", str(error))  # of a program that webdataset has started
        reason = f"its reader ended with code {ended[1]}" if ended else " ".join(str(error).split())
        raise UserError(f"{address} cannot be read: {reason}") from error


def _make_room(folder: Path, kept: Path) -> None:
    """Remove the shards that were not used for longest. Who has one open can go on reading it."""
    files = [(path.stat().st_mtime, path.stat().st_size, path) for path in folder.glob("*.tar")]
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= ROOM:
            return
        if path != kept:
            path.unlink(missing_ok=True)
            total -= size
