"""Writing shards of recordings: which segments of performances lie in which, and what is kept of them."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diffsynth.audio.files import AudioFile, audio_length
from diffsynth.config import SPLITS
from diffsynth.errors import UserError
from diffsynth.runs.files import check_apart, read_json
from diffsynth.runs.resuming import make_stamp
from diffsynth.shards.building import build_folder, build_shard
from diffsynth.shards.config import Shard
from diffsynth.shards.pieces import Piece, clip, even_parts, whole
from diffsynth.shards.segments import Segment, cut_segments, key_of, segment_members
from diffsynth.shards.tars import write_tar

CODE = ("shards", "audio", "midi")  # parts of the library that decide what is in a shard


@dataclass(frozen=True)
class ShardPlan:
    """A shard to write."""

    name: str
    pieces: list[Piece]


def plan_shards(split: str, pieces: list[Piece], size: float, config: Shard, length: int) -> list[ShardPlan]:
    """The shards of a split, as even as they can be.

    Args:
        split: name of the split.
        pieces: its performances, in order.
        size: bytes that they take.
        config: how large a shard is, and how many there are at least, if there are as many segments.
        length: of a segment in samples.
    """
    count = sum(piece.count for piece in pieces)
    number = min(count, max(config.fewest, math.ceil(size / (1e6 * config.megabytes))))
    return [
        ShardPlan(f"{split}-{i:06d}.tar", clip(pieces, first, last, length))
        for i, (first, last) in enumerate(even_parts(count, number) if count else [])
    ]


def write_shards(aligned: Path, out: Path, config: Shard, workers: int = 1) -> dict[str, Any]:
    """Cut the accepted performances of a folder of aligned data into shards; returns the index.

    The result does not depend on `workers`, the number of processes.

    Raises:
        UserError: there is no aligned data, or a segment would be empty.
    """
    check_apart(out, aligned)
    aligned_index = read_json(aligned / "index.json")
    rate = aligned_index["sample_rate"]
    if config.segment * rate < 1:
        raise UserError(f"shard.segment must be at least one sample, not {config.segment:g} s")
    plans = {split: _plans(aligned, aligned_index, split, config) for split in SPLITS}
    facts = {"dataset": aligned_index.get("dataset"), "segment": config.segment, "sample_rate": rate}
    facts["channels"] = aligned_index.get("channels", 1)
    job = partial(_write_shard, aligned=aligned, rate=rate, config=config)
    return build_folder(out, facts, plans, job, workers, "writing shards")


def _plans(aligned: Path, index: dict[str, Any], split: str, config: Shard) -> list[ShardPlan]:
    """The shards of a split. Their audio takes what the aligned files take, which hold the same samples."""
    length = round(config.segment * index["sample_rate"])
    names = sorted(p["name"] for p in index["performances"] if (p["status"], p["split"]) == ("ok", split))
    files = {name: aligned / f"{name}.flac" for name in names}
    pieces = [whole(name, audio_length(file), length) for name, file in files.items()]
    return plan_shards(split, pieces, sum(file.stat().st_size for file in files.values()), config, length)


def _write_shard(plan: ShardPlan, folder: Path, aligned: Path, rate: int, config: Shard) -> dict[str, Any]:
    """Write one shard; returns its part of the index.

    Raises:
        UserError: a performance cannot be read.
    """
    files = [aligned / f"{piece.name}.{kind}" for piece in plan.pieces for kind in ("flac", "npy")]
    states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    pieces = [asdict(piece) for piece in plan.pieces]

    def write(path: Path) -> dict[str, Any]:
        segments = (s for piece in plan.pieces for s in _read_piece(aligned, piece, rate, config))
        count = write_tar(path, ((key_of(s.name, s.index), segment_members(s, rate)) for s in segments))
        return {"samples": count, "pieces": pieces}

    stamp = make_stamp(CODE, pieces, states, rate, config.segment, config.context)
    return build_shard(folder, plan.name, stamp, write)


def _read_piece(aligned: Path, piece: Piece, rate: int, config: Shard) -> Iterator[Segment]:
    """The segments of a piece, of which only these are read."""
    events = np.load(aligned / f"{piece.name}.npy", allow_pickle=False)
    with AudioFile(aligned / f"{piece.name}.flac") as audio:
        yield from cut_segments(
            piece.name, audio, events, rate, config, piece.first, piece.first + piece.count
        )
