"""Files of an output that DVC has in its cache: it empties an output before it runs the stage again."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from diffsynth.errors import UserError
from diffsynth.runs.files import read_json
from diffsynth.runs.project import project_root

LOCK = Path("dvc.lock")
CACHE = Path(".dvc/cache/files/md5")


def cached_output(stage: str, out: Path) -> dict[str, Path]:
    """Places in the cache of what a folder held after its stage last ran, by path in the folder.

    Nothing, where DVC did not run the stage, or keeps its cache elsewhere.
    """
    with suppress(OSError, ValueError, KeyError, TypeError, yaml.YAMLError, UserError):
        outs: list[dict[str, Any]] = yaml.safe_load(LOCK.read_text(encoding="utf8"))["stages"][stage]["outs"]
        digest = next((entry["md5"] for entry in outs if entry["path"] == out.as_posix()), None)
        if digest is None:
            return {}
        return {entry["relpath"]: _place(entry["md5"]) for entry in read_json(_place(digest))}
    return {}


def _place(digest: str) -> Path:
    return project_root() / CACHE / digest[:2] / digest[2:]
