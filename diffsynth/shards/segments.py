"""Segments: aligned performances cut into samples of fixed length, and how one is kept in a shard.

A segment has a length that depends on neither block size nor model. Beside its audio it holds its events
and those of some seconds before, so that the notes that ring at its start are known. Members of a sample,
in this order: `.events.npy` ([n, 4] float64: time in seconds from the segment's start, earlier ones
negative, kind, number, value), `.flac` (padded with zeros to full length), `.json`. They are plain
arrays and files, so that webdataset's own loader reads them; docs/shards.md is their description.
"""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile

from diffsynth.audio.files import Audio, Samples
from diffsynth.midi.events import EVENT, Events
from diffsynth.shards.config import Shard
from diffsynth.shards.folders import ShardFolder
from diffsynth.shards.history import history
from diffsynth.shards.pieces import segment_count
from diffsynth.shards.places import Place
from diffsynth.shards.tars import Tar, npy

EVENTS, FLAC, JSON = "events.npy", "flac", "json"


@dataclass(frozen=True)
class Segment:
    """A stretch of one performance.

    Attributes:
        name: of the performance.
        index: of the segment in it, from 0.
        start: seconds from the performance's start.
        seconds: of recording in it; less than its length only at the end of a performance.
        audio: [time] samples, or [time, c], zeros beyond `seconds`.
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
        whole = np.pad(part, ((0, length - len(part)), *[(0, 0)] * (part.ndim - 1)))
        yield Segment(name, index, start, len(part) / rate, whole, kept)


def key_of(name: str, index: int) -> str:
    """The key of a segment in a shard: the performance's name and the segment's number.

    webdataset ends a key at the first dot of the last part of a path, and skips names in double underscores.
    """
    folder, slash, last = re.sub("^_", "%5F", name.replace("%", "%25")).rpartition("/")
    return f"{folder}{slash}{last.replace('.', '%2E')}-{index:05d}"


def events_array(events: Events) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Events as [n, 4]: time, kind, number, value."""
    return np.stack([events[name].astype(np.float64) for name in EVENT.names or ()], axis=1)


def events_of(array: np.ndarray[Any, np.dtype[np.float64]]) -> Events:
    """What `events_array` was made of."""
    events = np.zeros(len(array), dtype=EVENT)
    for name, column in zip(EVENT.names or (), array.T, strict=True):
        events[name] = column
    return events


def segment_facts(segment: Segment, rate: int) -> bytes:
    """What is neither audio nor events, as JSON."""
    facts = {
        "name": segment.name,
        "segment": segment.index,
        "start": segment.start,
        "seconds": segment.seconds,
        "sample_rate": rate,
    }
    return json.dumps(facts, sort_keys=True).encode()


def segment_members(segment: Segment, rate: int) -> dict[str, bytes]:
    """The members of a sample, by extension."""
    flac = io.BytesIO()
    soundfile.write(flac, segment.audio, rate, format="FLAC", subtype="PCM_16")
    events = npy(events_array(segment.events))
    return {EVENTS: events, FLAC: flac.getvalue(), JSON: segment_facts(segment, rate)}


def read_events(tar: Tar, row: int) -> Events:
    """The events of sample `row`."""
    return events_of(tar.array(row, EVENTS))


def read_segment(tar: Tar, row: int) -> Segment:
    """Sample `row` of a shard.

    Raises:
        UserError: it lacks a member.
    """
    facts = json.loads(tar.read(row, JSON))
    audio, _ = soundfile.read(io.BytesIO(tar.read(row, FLAC)), dtype="float32")
    return Segment(
        facts["name"], facts["segment"], facts["start"], facts["seconds"], audio, read_events(tar, row)
    )


def read_shards(folder: Place, split: str) -> Iterator[Segment]:
    """All segments of a split, in the order in which they were written, one at a time.

    Raises:
        UserError: the shards are missing or damaged, or there is no such split.
    """
    shards = ShardFolder(folder, split)
    for number in range(len(shards.shards)):
        tar = shards.open(number)
        yield from (read_segment(tar, row) for row in range(len(tar)))
