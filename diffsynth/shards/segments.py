"""Webdataset shards: aligned performances cut into segments, the same bytes at every build.

A segment has a fixed length that depends on neither block size nor model. Beside its audio it holds
its events and those of some seconds before, so that the notes that ring at its start are known. The
segments of each shard are known beforehand, so that shards are written in parallel, and an interrupted
run does not write finished shards again. Members of a sample, in this order: `.events.npy` (`EVENT`,
seconds from the segment's start, earlier ones negative), `.flac` (mono, padded with zeros to full
length), `.json`.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from diffsynth.audio.files import Audio, AudioFile, Samples, audio_length
from diffsynth.config import SPLITS, choice
from diffsynth.errors import UserError
from diffsynth.midi.events import Events
from diffsynth.runs.files import atomic_path, check_apart, read_json, sha256, write_json
from diffsynth.runs.parallel import parallel_map
from diffsynth.runs.resuming import make_stamp, recall, record, resumable_folder, tidy
from diffsynth.shards.config import Shard
from diffsynth.shards.history import history

INDEX = "index.json"
MEMBERS = ("events.npy", "flac", "json")
CODE = ("shards", "audio", "midi")  # parts of the library that decide what is in a shard


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


def cut_segments(
    name: str,
    audio: Samples,
    events: Events,
    rate: int,
    config: Shard,
    first: int = 0,
    last: int | None = None,
) -> Iterator[Segment]:
    """Segments `first` to `last` (excluded; None: all that follow) of one performance, in order."""
    length = round(config.segment * rate)
    for index in range(first, segment_count(len(audio), length) if last is None else last):
        begin = index * length
        # The end is the next segment's start to the last bit, so that no event is lost between them.
        part, start, end = audio[begin : begin + length], begin / rate, (begin + length) / rate
        # No later history needs events that this one does not: dropping them keeps long performances fast.
        events = np.concatenate([history(events, start, config.context), events[events["time"] >= start]])
        kept = events[events["time"] < end]
        kept["time"] -= start
        whole = np.pad(part, (0, length - len(part)))
        yield Segment(name, index, start, len(part) / rate, whole, kept)


def segment_count(samples: int, length: int) -> int:
    """Segments of `length` samples that hold all of them."""
    return -(-samples // length)


@dataclass(frozen=True)
class ShardPlan:
    """A shard to write: segments [first, last) of each performance."""

    name: str
    pieces: list[tuple[str, int, int]]


def plan_shards(split: str, counts: dict[str, int], samples_per_shard: int) -> list[ShardPlan]:
    """The shards of a split, from the number of segments of each performance, in order."""
    plans: list[ShardPlan] = []
    room = 0
    for name, count in counts.items():
        first = 0
        while first < count:
            if not room:
                plans.append(ShardPlan(f"{split}-{len(plans):06d}.tar", []))
                room = samples_per_shard
            last = min(first + room, count)
            plans[-1].pieces.append((name, first, last))
            room -= last - first
            first = last
    return plans


def write_shards(aligned: Path, out: Path, config: Shard, workers: int = 1) -> dict[str, Any]:
    """Cut the accepted performances of a folder of aligned data into shards; returns the index.

    The result does not depend on `workers`, the number of processes.

    Raises:
        UserError: there is no aligned data, or a segment would be empty.
    """
    check_apart(out, aligned)
    aligned_index = read_json(aligned / "index.json")
    accepted = [p for p in aligned_index["performances"] if p["status"] == "ok"]
    rate = aligned_index["sample_rate"]
    length = round(config.segment * rate)
    if config.segment * rate < 1:
        raise UserError(f"shard.segment must be at least one sample, not {config.segment:g} s")
    plans = {}
    for split in SPLITS:
        names = sorted(p["name"] for p in accepted if p["split"] == split)
        counts = {name: segment_count(audio_length(aligned / f"{name}.flac"), length) for name in names}
        plans[split] = plan_shards(split, counts, config.samples_per_shard)
    dataset = aligned_index.get("dataset")
    index: dict[str, Any] = {"dataset": dataset, "segment": config.segment, "sample_rate": rate, "splits": {}}
    with resumable_folder(out, INDEX) as folder:
        job = partial(_write_shard, aligned=aligned, folder=folder, rate=rate, config=config)
        everything = [plan for split in SPLITS for plan in plans[split]]
        written = iter(list(parallel_map(job, everything, workers, "writing shards")))
        for split in SPLITS:
            shards = list(islice(written, len(plans[split])))
            samples = sum(shard["samples"] for shard in shards)
            index["splits"][split] = {"samples": samples, "shards": shards}
        write_json(folder / INDEX, index)
        tidy(folder, {INDEX, *(plan.name for plan in everything)})
    return index


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a folder of shards: its dataset (None if unknown), segment (s), rate and splits.

    Raises:
        UserError: there are no shards.
    """
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder / 'index.json'} does not exist; run `diffsynth shard` first")
    return dict(read_json(folder / INDEX))


def read_shards(folder: Path, split: str) -> Iterator[Segment]:
    """All segments of a split, in the order in which they were written.

    Raises:
        UserError: the shards are missing or damaged, or there is no such split.
    """
    splits = read_index(folder)["splits"]
    for shard in splits[choice("split", split, tuple(splits))]["shards"]:
        path = folder / shard["name"]
        if not path.is_file() or sha256(path) != shard["sha256"]:
            raise UserError(f"{path} is missing or damaged; run `diffsynth shard` again")
        yield from _read_tar(path)


def _read_tar(path: Path) -> Iterator[Segment]:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    # Opened here, because webdataset reads a path as a URL, in which some characters are special.
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


def _write_shard(plan: ShardPlan, aligned: Path, folder: Path, rate: int, config: Shard) -> dict[str, Any]:
    """Write one shard, unless an interrupted run has; returns its part of the index.

    Raises:
        UserError: a performance cannot be read.
    """
    files = [aligned / f"{name}.{kind}" for name, _, _ in plan.pieces for kind in ("flac", "npy")]
    states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    stamp = make_stamp(CODE, plan.pieces, states, rate, asdict(config))
    known = recall(folder, plan.name, stamp)
    if known is not None:
        return dict(known)
    segments = (s for piece in plan.pieces for s in _read_piece(aligned, *piece, rate, config))
    with atomic_path(folder / plan.name) as path:
        _write_tar(path, segments, rate)
    samples = sum(last - first for _, first, last in plan.pieces)
    result = {"name": plan.name, "sha256": sha256(folder / plan.name), "samples": samples}
    record(folder, plan.name, stamp, result, [plan.name])
    return result


def _read_piece(
    aligned: Path, name: str, first: int, last: int, rate: int, config: Shard
) -> Iterator[Segment]:
    """Segments [first, last) of a performance, of which only these are read."""
    events = np.load(aligned / f"{name}.npy", allow_pickle=False)
    with AudioFile(aligned / f"{name}.flac") as audio:
        yield from cut_segments(name, audio, events, rate, config, first, last)


def _write_tar(path: Path, segments: Iterable[Segment], rate: int) -> None:
    """One shard; times, owners and modes are fixed, so that equal samples make equal bytes.

    The same bytes as webdataset's writer, whose import would take each process three seconds.
    """
    with tarfile.open(path, "w|") as tar:
        for segment in segments:
            for member, content in _members(segment, rate).items():
                info = tarfile.TarInfo(f"{segment.name}-{segment.index:05d}.{member}")
                info.size, info.mode = len(content), 0o444
                info.uname = info.gname = "diffsynth"
                tar.addfile(info, io.BytesIO(content))


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
