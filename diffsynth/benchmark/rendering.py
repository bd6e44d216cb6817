"""Rendering all performances by all systems, so that a run which is killed goes on where it was.

`renders/SYSTEM/NAME.wav` is what a system wrote; a record beside it says what decided it
(`diffsynth.runs.resuming`), with how long it took.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from diffsynth.benchmark.pieces import Piece
from diffsynth.benchmark.systems import System
from diffsynth.runs.files import atomic_path, sha256
from diffsynth.runs.resuming import locked, make_stamp, recall, record

MARK = ".benchmark"  # by which the folder of a benchmark is known
RENDERS = "renders"
WORK = ".part-"  # folders of what is not complete


@dataclass(frozen=True)
class Speed:
    """Of a system over all performances, by key of the measure, and how many samples were at full scale."""

    values: dict[str, float]
    clipped: int


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Hold the folder of a benchmark, so that no other process writes it.

    Raises:
        UserError: one does, or the folder cannot be written.
    """
    with atomic_path(out / MARK) as temporary:
        temporary.write_text("diffsynth benchmark\n", encoding="utf8")
    with locked(out, out):
        yield


def render_all(
    systems: Sequence[System], pieces: Sequence[Piece], out: Path, machine: dict[str, Any]
) -> dict[str, Speed]:
    """Render what is not there yet; the speed of each system, by key.

    Args:
        systems: what plays.
        pieces: what is played.
        out: folder of the benchmark.
        machine: what times depend on.

    Raises:
        UserError: a system fails; what was rendered before stays.
    """
    speeds = {}
    with tqdm(total=len(systems) * len(pieces), desc="rendering", unit="piece", disable=None) as bar:
        for system in systems:
            results, times = [], []
            folder = out / RENDERS / system.key
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(f"{WORK}*"):  # by a run that was killed
                shutil.rmtree(left)
            for piece in pieces:
                bar.set_postfix_str(f"{system.key} {piece.name}")
                stamp = make_stamp(system.code, system.origin(), sha256(piece.midi), piece.end, machine)
                result = recall(folder, piece.name, stamp)
                results.append(_render(system, piece, folder, stamp) if result is None else result)
                times.append(np.load(folder / f"{piece.name}.npy", allow_pickle=False))
                bar.update()
            speeds[system.key] = _speed(system, results, np.concatenate(times), pieces)
    return speeds


def _render(system: System, piece: Piece, folder: Path, stamp: str) -> dict[str, float]:
    """Render one performance, and note that it is done."""
    wav, times = f"{piece.name}.wav", f"{piece.name}.npy"
    with TemporaryDirectory(prefix=WORK, dir=folder) as work:
        played = system.play(piece, Path(work) / wav)
        np.save(Path(work) / times, played.blocks)
        for name in (wav, times):
            os.replace(Path(work) / name, folder / name)
    result = {"spent": played.spent, "clipped": played.clipped}
    record(folder, piece.name, stamp, result, [wav, times])
    return result


def _speed(
    system: System, results: Sequence[dict[str, float]], times: NDArray[np.float64], pieces: Sequence[Piece]
) -> Speed:
    """Wall clock over the time that was asked for, which is the same for all systems."""
    rtf = sum(result["spent"] for result in results) / sum(piece.end for piece in pieces)
    values = {"rtf": float(f"{rtf:.4g}")}
    if len(times):
        values |= {f"p{part}_ms": round(1000 * float(np.quantile(times, part / 100)), 3) for part in (50, 99)}
    if system.latency_ms is not None:
        values["latency_ms"] = round(system.latency_ms, 2)
    return Speed(values, int(sum(result["clipped"] for result in results)))
