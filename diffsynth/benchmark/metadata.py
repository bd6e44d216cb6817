"""What somebody has to know to do a benchmark again: versions, machine, and digests of all that it read."""

import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from diffsynth import __version__
from diffsynth.benchmark.measuring import How
from diffsynth.benchmark.pieces import Piece
from diffsynth.benchmark.systems import System
from diffsynth.runs.files import sha256
from diffsynth.runs.resuming import library_digest

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "librosa",
    "mir_eval",
    "soxr",
    "soundfile",
    "zimtohrli",
    "pyfluidsynth",
)


def machine() -> dict[str, Any]:
    """What speed and sound depend on besides the systems."""
    packages = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "diffsynth": __version__,
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": packages,
    }


def metadata(
    systems: Sequence[System], pieces: Sequence[Piece], how: How, of_machine: dict[str, Any]
) -> dict[str, Any]:
    """All of it, as JSON."""
    return {
        "machine": of_machine,
        "library_sha256": library_digest(),
        "settings": asdict(how),
        "systems": {
            system.key: {"kind": system.kind, "model": system.model, "block": system.block, **system.origin()}
            for system in systems
        },
        "performances": {
            piece.name: {
                "title": piece.title,
                "midi_sha256": sha256(piece.source),
                "audio_sha256": sha256(piece.audio),
                "end": piece.end,
            }
            for piece in pieces
        },
    }


def _cpu() -> str:
    """Name of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
