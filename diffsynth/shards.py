"""Webdataset shards: aligned performances cut into segments, the same bytes at every build.

A segment has a fixed length that depends on neither block size nor model. Beside its audio it holds
its events and those of some seconds before, so that what still rings at its start is known. Members
of a sample, in this order: `.events.npy` (`EVENT`, seconds from the segment's start, earlier ones
negative), `.flac` (mono, padded with zeros to full length), `.json`.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from diffsynth.audio import Audio, read_audio
from diffsynth.config import Shard, choice
from diffsynth.errors import UserError
from diffsynth.events import CONTROL, LOWEST_KEY, PEDALS, Events, to_samples
from diffsynth.excitation.dampers import Dampers
from diffsynth.files import atomic_folder, read_json, sha256, write_json

SPLITS = ("train", "validation", "test")
MEMBERS = ("events.npy", "flac", "json")


@dataclass(frozen=True)
class Segment:
    """A stretch of one performance.

    Attributes:
        name: of the performance.
        index: of the segment in it, from 0.
        start: seconds from the performance's start.
        seconds: of recording in it; less than its length only at the end of a performance.
        audio: [time] samples, zeros beyond `seconds`.
        events: `EVENT` array, times in seconds from the segment's start, history included.
    """

    name: str
    index: int
    start: float
    seconds: float
    audio: Audio
    events: Events


def history(events: Events, start: float, context: float) -> Events:
    """Events up to `start` (s) that decide what sounds then, at their own times.

    All events of the last `context` seconds; from before, the pedals and the notes of keys whose
    dampers had not fallen.
    """
    begin = start - context
    early = events[events["time"] < begin]
    recent = events[(events["time"] >= begin) & (events["time"] < start)]
    return np.concatenate([_standing(early), recent])


def cut(name: str, audio: Audio, events: Events, rate: int, config: Shard) -> Iterator[Segment]:
    """All segments of one performance, in order."""
    length = round(config.segment * rate)
    for index, begin in enumerate(range(0, len(audio), length)):
        # The end is the next segment's start to the last bit, so that no event is lost between them.
        part, start, end = audio[begin : begin + length], begin / rate, (begin + length) / rate
        # What no history needs now, no later one needs: dropping it keeps long performances fast.
        events = np.concatenate([history(events, start, config.context), events[events["time"] >= start]])
        kept = events[events["time"] < end]
        kept["time"] -= start
        padded = np.pad(part, (0, length - len(part)))
        yield Segment(name, index, start, len(part) / rate, padded, kept)


def write_shards(aligned: Path, out: Path, config: Shard) -> dict[str, Any]:
    """Cut the accepted performances of a folder of aligned data into shards; returns the index.

    Raises:
        UserError: there is no aligned data, or a segment would be empty.
    """
    aligned_index = read_json(aligned / "index.json")
    accepted = [p for p in aligned_index["performances"] if p["status"] == "ok"]
    rate = aligned_index["sample_rate"]
    if config.segment * rate < 1:
        raise UserError(f"shard.segment must be at least one sample, not {config.segment:g} s")
    index: dict[str, Any] = {"segment": config.segment, "sample_rate": rate, "splits": {}}
    with atomic_folder(out) as folder:
        for split in SPLITS:
            names = sorted(p["name"] for p in accepted if p["split"] == split)
            segments = (s for name in names for s in _read_performance(aligned, name, rate, config))
            index["splits"][split] = _write_split(folder, split, segments, rate, config.samples_per_shard)
        write_json(folder / "index.json", index)
    return index


def read_shards(folder: Path, split: str) -> Iterator[Segment]:
    """All segments of a split, in the order in which they were written.

    Raises:
        UserError: the shards are missing or damaged, or there is no such split.
    """
    if not (folder / "index.json").is_file():
        raise UserError(f"{folder / 'index.json'} does not exist; run `diffsynth shard` first")
    splits = read_json(folder / "index.json")["splits"]
    for shard in splits[choice("split", split, tuple(splits))]["shards"]:
        path = folder / shard["name"]
        if not path.is_file() or sha256(path) != shard["sha256"]:
            raise UserError(f"{path} is missing or damaged; run `diffsynth shard` again")
        yield from _read_tar(path)


def _read_tar(path: Path) -> Iterator[Segment]:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    # Opened here, because webdataset takes a path for an address, in which some characters mean more.
    with path.open("rb") as file:
        for sample in group_by_keys(tar_file_expander([{"url": str(path), "stream": file}])):
            yield _segment(path, sample)


def _segment(path: Path, sample: dict[str, Any]) -> Segment:
    missing = [member for member in MEMBERS if member not in sample]
    if missing:
        raise UserError(f"{path} lacks {missing[0]} of {sample['__key__']}; run `diffsynth shard` again")
    facts = json.loads(sample["json"])
    audio, _ = soundfile.read(io.BytesIO(sample["flac"]), dtype="float32")
    events = np.load(io.BytesIO(sample["events.npy"]), allow_pickle=False)
    return Segment(facts["name"], facts["segment"], facts["start"], facts["seconds"], audio, events)


def _standing(early: Events) -> Events:
    """Of events before the context: the notes of keys that still ring, and the pedals since then."""
    dampers = Dampers()
    began: dict[int, int] = {}
    numbered = to_samples(early, 1)
    numbered["position"] = np.arange(len(early))
    for row, what, key, _ in dampers.actions(numbered):
        if what == "strike":
            began.setdefault(key, row)
        else:
            began.pop(key, None)
    control = early["kind"] == CONTROL
    kept = np.zeros(len(early), dtype=bool)
    for key, row in began.items():
        kept[row:] |= ~control[row:] & (early["number"][row:] == key + LOWEST_KEY)
    first = min(began.values(), default=len(early))
    for pedal in PEDALS:
        moves = np.flatnonzero(control & (early["number"] == pedal))
        kept[moves[max(0, int(np.searchsorted(moves, first)) - 1) :]] = True
    return early[kept]


def _read_performance(aligned: Path, name: str, rate: int, config: Shard) -> Iterator[Segment]:
    audio, _ = read_audio(aligned / f"{name}.flac")
    events = np.load(aligned / f"{name}.npy", allow_pickle=False)
    return cut(name, audio, events, rate, config)


def _write_split(
    folder: Path, split: str, segments: Iterator[Segment], rate: int, samples_per_shard: int
) -> dict[str, Any]:
    """Write the shards of one split; returns their part of the index."""
    shards: list[dict[str, Any]] = []
    while group := list(islice(segments, samples_per_shard)):
        path = folder / f"{split}-{len(shards):06d}.tar"
        _write_tar(path, group, rate)
        shards.append({"name": path.name, "sha256": sha256(path), "samples": len(group)})
    return {"samples": sum(shard["samples"] for shard in shards), "shards": shards}


def _write_tar(path: Path, segments: list[Segment], rate: int) -> None:
    """One shard; times, owners and modes are fixed, so that equal samples make equal bytes."""
    from webdataset import TarWriter

    with (
        path.open("wb") as file,
        TarWriter(file, encoder=False, mtime=0, user="diffsynth", group="diffsynth") as tar,
    ):
        for segment in segments:
            tar.write({"__key__": f"{segment.name}-{segment.index:05d}", **_members(segment, rate)})


def _members(segment: Segment, rate: int) -> dict[str, bytes]:
    """The members of a sample, by extension."""
    events, flac = io.BytesIO(), io.BytesIO()
    np.save(events, segment.events, allow_pickle=False)
    soundfile.write(flac, segment.audio, rate, format="FLAC", subtype="PCM_16")
    facts = {
        "name": segment.name,
        "segment": segment.index,
        "start": segment.start,
        "seconds": segment.seconds,
        "sample_rate": rate,
    }
    values = (events.getvalue(), flac.getvalue(), json.dumps(facts, sort_keys=True).encode())
    return dict(zip(MEMBERS, values, strict=True))
