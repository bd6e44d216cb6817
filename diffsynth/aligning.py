"""The job of the align stage: every performance measured, corrected or set aside, and a report.

Corrections are made to the times of the events, not to the audio: moving numbers is exact, resampling
sound by some parts per million is not. What the measurement cannot tell from zero is left alone, so
that exact data stay exact.
"""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diffsynth.alignment import Alignment, measure
from diffsynth.audio import Audio, read_audio, resample, write_audio
from diffsynth.config import Align, AudioFormat
from diffsynth.data.manifest import Performance, read_manifest
from diffsynth.errors import UserError
from diffsynth.events import Events
from diffsynth.files import atomic_folder, atomic_path, write_json
from diffsynth.midi import read_midi
from diffsynth.parallel import parallel_map

LEAD = 0.5  # s of audio kept before the first event


@dataclass(frozen=True)
class Entry:
    """What became of one performance; times in s of the aligned audio."""

    name: str
    split: str
    duration: float = 0.0
    offset: float = 0.0
    drift: float = 0.0
    confidence: float = 0.0
    residual_ms: float = 0.0
    matched: float = 0.0
    corrected: bool = field(default=False)
    status: str = "ok"
    reason: str = ""


def correct(events: Events, audio: Audio, rate: int, alignment: Alignment) -> tuple[Events, Audio]:
    """Events in audio time, and the audio from shortly before the first of them.

    Events that happen before the recording begins get silence put in front of it.
    """
    moved = events.copy()
    moved["time"] = alignment.audio_time(events["time"])
    # Whole samples, so that the audio itself is not touched.
    cut = round((float(moved["time"][0]) - LEAD) * rate)
    if cut > 0:
        audio = audio[cut:]
    elif moved["time"][0] < 0:
        cut = int(np.floor(float(moved["time"][0]) * rate))
        audio = np.pad(audio, (-cut, 0))
    else:
        cut = 0
    moved["time"] -= cut / rate
    return moved, audio


def align_performance(
    performance: Performance, raw: Path, out: Path, audio_format: AudioFormat, config: Align
) -> Entry:
    """Align one performance and write its audio and events to `out`, unless it is rejected."""
    rate = audio_format.sample_rate
    try:
        events = read_midi(raw / performance.midi)
        samples, source_rate = read_audio(raw / performance.audio)
    except UserError as error:
        return Entry(performance.name, performance.split, status="rejected", reason=str(error))
    audio = resample(samples, source_rate, rate)
    found = measure(events, audio, rate, config)
    corrected = found.status == "ok" and found.differs(float(events["time"][0]), float(events["time"][-1]))
    if corrected:
        events, audio = correct(events, audio, rate, found)
    if found.status == "ok":
        write_audio(out / f"{performance.name}.flac", audio, rate)
        with atomic_path(out / f"{performance.name}.npy") as path:
            np.save(path, events, allow_pickle=False)
    return Entry(
        performance.name,
        performance.split,
        duration=round(len(audio) / rate, 6),
        offset=round(found.offset, 6),
        drift=round(found.drift, 3),
        confidence=round(found.confidence, 4),
        residual_ms=round(found.residual_ms, 3),
        matched=round(found.matched, 4),
        corrected=corrected,
        status=found.status,
        reason=found.reason,
    )


def align_all(raw: Path, out: Path, audio_format: AudioFormat, config: Align, report: Path) -> list[Entry]:
    """Align all performances of a manifest into the folder `out`, with an index, and write the report.

    Raises:
        UserError: there is no manifest, or no performance could be aligned.
    """
    manifest = read_manifest(raw)
    with atomic_folder(out) as folder:
        job = partial(align_performance, raw=raw, out=folder, audio_format=audio_format, config=config)
        entries = list(parallel_map(job, manifest.performances, config.workers, "aligning"))
        if not entries:
            raise UserError(f"{raw / 'manifest.json'} lists no performances")
        if not any(entry.status == "ok" for entry in entries):
            raise UserError(f"no performance could be aligned; the first: {entries[0].reason}")
        rows: list[dict[str, Any]] = [asdict(entry) for entry in entries]
        write_json(folder / "index.json", {"sample_rate": audio_format.sample_rate, "performances": rows})
    write_report(entries, report)
    return entries


def write_report(entries: Sequence[Entry], folder: Path) -> None:
    """Write `report.csv`, one row per performance, and `report.png` into a folder."""
    with atomic_path(folder / "report.csv") as path, path.open("w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(entries[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(entry) for entry in entries)
    with atomic_path(folder / "report.png") as path:
        _figure(entries).savefig(path, dpi=100, metadata={"Software": None})


def _figure(entries: Sequence[Entry]) -> Figure:
    """Offset, drift and residual of every performance; rejected ones are crosses."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    place = np.arange(len(entries))
    good = np.array([entry.status == "ok" for entry in entries])
    quantities = (
        ("offset", 1000, "offset (ms)"),
        ("drift", 1, "drift (ppm)"),
        ("residual_ms", 1, "residual (ms)"),
    )
    for axis, (name, scale, label) in zip(axes, quantities, strict=True):
        values = scale * np.array([getattr(entry, name) for entry in entries])
        axis.plot(place[good], values[good], "o", color="tab:blue", label="aligned")
        axis.plot(place[~good], values[~good], "x", color="tab:red", label="rejected")
        axis.set(ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    if len(entries) <= 40:
        axes[-1].set_xticks(place, [entry.name for entry in entries], rotation=60, ha="right", fontsize=8)
    return figure
