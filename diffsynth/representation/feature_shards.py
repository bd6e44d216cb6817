"""Features as webdataset shards: computed shard by shard, read a few frames at a time.

A sample is a segment; its members are `.cond.npy` and `.levels.npy` (half precision, because levels need
three digits), `.sounds.npy` (16 bits, the highest sample of each sound in `.peaks.npy`), a row for each hop,
and `.json`, the segment's own. Every shard of recordings becomes one or more shards here, so that nothing but
one segment is in memory, however many hours there are. The index holds the moments of the gains in every
shard, and the loudest level of every piece. docs/shards.md describes all of it.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.audio.format import AudioFormat
from diffsynth.errors import UserError
from diffsynth.piano.piano import Piano, load_piano
from diffsynth.representation.config import Features
from diffsynth.representation.features import FeatureMaker, SegmentFeatures
from diffsynth.representation.gain_field import AUDIBLE, GainField
from diffsynth.representation.normaliser import Moments
from diffsynth.representation.targets import Targets
from diffsynth.runs.files import sha256
from diffsynth.runs.resuming import make_stamp
from diffsynth.runs.threads import threads
from diffsynth.shards.building import build_folder, build_shard
from diffsynth.shards.folders import ShardFolder
from diffsynth.shards.pieces import clip, even_parts
from diffsynth.shards.places import Place
from diffsynth.shards.segments import JSON, Segment, key_of, read_segment, segment_facts
from diffsynth.shards.tars import npy, write_tar

CODE = ("representation", "shards", "piano", "audio", "midi")  # parts of the library that decide features
SPLITS = ("train", "validation")  # the test split is played, not trained on
BYTES = 200e6  # of a shard at most: about ten minutes
LARGEST = 32767  # of 16 bits


@dataclass(frozen=True)
class FeaturePlan:
    """A shard to write: samples [first, last) of a shard of recordings, by its number."""

    name: str
    split: str
    shard: int
    first: int
    last: int


class FeatureFolder:
    """One split of a folder of features.

    Args:
        folder: path or URL.
        split: name of the split.

    Attributes:
        hops: in a segment.
        hop_seconds: s from hop to hop.

    Raises:
        UserError: there is no index, or no such split.
    """

    def __init__(self, folder: Place, split: str) -> None:
        self._shards, self._split = ShardFolder(folder, split, "features"), split
        self.hops: int = self._shards.index["hops"]
        self.hop_seconds: float = self._shards.index["hop"] / self._shards.index["sample_rate"]

    def check(self, audio: AudioFormat, features: Features) -> None:
        """Refuse features that were computed with other parameters.

        Raises:
            UserError: names the first that differs.
        """
        expected = feature_facts(None, audio, features, self._shards.index["segment"])
        names = ("sample_rate", "channels", "hop", *asdict(features))
        self._shards.check(**{name: expected[name] for name in names})

    @cached_property
    def recorded(self) -> list[list[int]]:
        """Hops of every segment of every shard that lie within the recording: after them it is padding."""
        hop = self._shards.index["hop"]
        numbers = range(len(self._shards.shards))
        return [[length // hop for length in self._shards.lengths(number)] for number in numbers]

    def moments(self) -> Moments:
        """Of the gains of the whole split.

        Raises:
            UserError: there is no segment.
        """
        part = self._shards.index["splits"][self._split]
        if not part["shards"]:
            raise UserError(f"{self._shards.folder} holds no segment to learn from")
        return read_moments(part)

    def read(self, shard: int, row: int, part: slice) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        """Condition and levels of hops of a segment, of which only these are read; see `SegmentFeatures`.

        Raises:
            UserError: the shard is missing or damaged.
        """
        tar = self._shards.open(shard)
        return tar.array(row, "cond.npy", part), tar.array(row, "levels.npy", part)

    def read_sounds(self, shard: int, row: int, first: int, last: int) -> NDArray[np.float32]:
        """[last - first, (1 + p) c, hop] sounds of hops of a segment, silent where there is none.

        They are as loud as if the loudest band of the piece held a sinusoid at full scale.

        Raises:
            UserError: the shard is missing or damaged.
        """
        tar, begin = self._shards.open(shard), max(first, 0)
        sounds = tar.array(row, "sounds.npy", slice(begin, max(last, begin)))
        scale = tar.array(row, "peaks.npy") / LARGEST / self._full_scale(shard, row)
        padding = (begin - first, last - begin - len(sounds)), (0, 0), (0, 0)
        return np.pad(sounds * scale[:, None].astype(np.float32), padding)

    @property
    def pieces(self) -> int:
        """Performances of the split."""
        return len(self._loudest)

    def piece(self, shard: int, row: int) -> int:
        """Number of the performance that a segment is from."""
        return self._numbers[self._names[shard][row]]

    def _full_scale(self, shard: int, row: int) -> float:
        """Amplitude of a sinusoid of the loudest level of the piece that a segment is from."""
        level = max(self._loudest[self._names[shard][row]], AUDIBLE)
        return math.sqrt(2 * 10 ** (level + self._shards.index["floor"] / 10))

    @cached_property
    def _names(self) -> list[list[str]]:
        """Name of the piece of every segment of every shard."""
        numbers = range(len(self._shards.shards))
        return [[p.name for p in self._shards.pieces(n) for _ in range(p.count)] for n in numbers]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self._loudest)}

    @cached_property
    def _loudest(self) -> dict[str, float]:
        """Loudest level of every piece, powers of ten above the floor; it may lie in several shards."""
        loudest: dict[str, float] = {}
        for number, entry in enumerate(self._shards.shards):
            for piece, level in zip(self._shards.pieces(number), entry["loudest"], strict=True):
                loudest[piece.name] = max(level, loudest.get(piece.name, 0.0))
        return loudest


def write_features(
    shards: Place, piano_file: Path, out: Path, audio: AudioFormat, features: Features, workers: int = 1
) -> dict[str, Any]:
    """Compute the features of the splits that are learned from and validated by; returns the index.

    The result does not depend on `workers`, the number of processes, nor on the number of threads.

    Raises:
        UserError: a shard is missing or damaged or has another sample rate, or a split is empty.
    """
    splits = {split: ShardFolder(shards, split) for split in SPLITS}
    for folder in splits.values():
        folder.check(sample_rate=audio.sample_rate, channels=audio.channels)
    first = splits["train"].index
    hops = round(first["segment"] * first["sample_rate"]) // (audio.frame * features.hop)
    plans = {split: _plans(folder, split, hops, features) for split, folder in splits.items()}
    if not all(plans.values()):
        raise UserError("there is nothing to compute features of: each split needs a performance")
    facts = feature_facts(first["dataset"], audio, features, first["segment"])
    job = partial(_write_shard, shards=shards, piano_file=piano_file, audio=audio, features=features)
    return build_folder(out, facts, plans, job, workers, "features")


def feature_facts(
    dataset: str | None, audio: AudioFormat, features: Features, segment: float
) -> dict[str, Any]:
    """What the index of a folder of features says beside its splits."""
    return {
        "dataset": dataset,
        "segment": segment,
        "sample_rate": audio.sample_rate,
        "channels": audio.channels,
        **asdict(features),
        "hop": audio.frame * features.hop,
        "hops": round(segment * audio.sample_rate) // (audio.frame * features.hop),
        "cond": GainField.width(features),
    }


def write_feature_shard(
    path: Path, samples: Iterable[tuple[Segment, SegmentFeatures]], targets: Targets, rate: int, hop: int
) -> tuple[int, Moments, dict[str, float]]:
    """Write one shard; returns the number of samples, moments of their gains, and loudest levels by piece.

    Args:
        path: of the shard.
        samples: segments and what was computed of each.
        targets: what the levels ask for.
        rate: of the audio in Hz.
        hop: samples from one gain to the next.
    """
    parts: list[Moments] = []
    loudest: dict[str, float] = {}

    def members() -> Iterator[tuple[str, dict[str, bytes]]]:
        for segment, features in samples:
            heard = round(segment.seconds * rate) // hop
            levels = features.levels.astype(np.float16)
            parts.append(Moments.of(*targets(levels[:heard])))
            level = float(levels[:heard, 0].max(initial=0.0))
            loudest[segment.name] = max(level, loudest.get(segment.name, 0.0))
            content = {"cond.npy": npy(features.cond.astype(np.float16)), "levels.npy": npy(levels)}
            content |= _sound_members(features.sounds)
            yield key_of(segment.name, segment.index), {**content, JSON: segment_facts(segment, rate)}

    count = write_tar(path, members())
    return count, reduce(add, parts), loudest


def _sound_members(sounds: NDArray[np.float32]) -> dict[str, bytes]:
    """Sounds [l, 1 + p, hop] in 16 bits of their own highest samples."""
    peaks = np.abs(sounds).max(axis=(0, 2), initial=0.0).clip(1e-9)
    whole = np.rint(sounds * (LARGEST / peaks)[:, None]).astype(np.int16)
    return {"peaks.npy": npy(peaks.astype(np.float32)), "sounds.npy": npy(whole)}


def _plans(folder: ShardFolder, split: str, hops: int, features: Features) -> list[FeaturePlan]:
    """The shards of a split: each one of recordings in as many even parts as keep them small enough."""
    parts = 1 + (len(features.ages) + 1 if features.noise_bands else 1)
    rate, segment = folder.index["sample_rate"], folder.index["segment"]
    samples = round(rate * segment) * parts * folder.index["channels"]
    size = 2 * (hops * (GainField.width(features) + parts * features.bands) + samples)
    plans: list[FeaturePlan] = []
    for number, entry in enumerate(folder.shards):
        count = entry["samples"]
        for first, last in even_parts(count, math.ceil(count * size / BYTES)):
            plans.append(FeaturePlan(f"{split}-{len(plans):06d}.tar", split, number, first, last))
    return plans


def _write_shard(
    plan: FeaturePlan, folder: Path, shards: Place, piano_file: Path, audio: AudioFormat, features: Features
) -> dict[str, Any]:
    """Write one shard; returns its part of the index."""
    source = ShardFolder(shards, plan.split)
    length = round(source.index["segment"] * audio.sample_rate)
    pieces = clip(source.pieces(plan.shard), plan.first, plan.last, length)

    def write(path: Path) -> dict[str, Any]:
        samples = _computed(source, plan, load_piano(piano_file), audio, features)
        hop = audio.frame * features.hop
        targets = Targets(features, audio)
        count, moments, loudest = write_feature_shard(path, samples, targets, audio.sample_rate, hop)
        facts = {"pieces": [asdict(p) for p in pieces], "loudest": [loudest[p.name] for p in pieces]}
        return {"samples": count, **facts, "moments": _plain(moments)}

    known_by = source.shards[plan.shard]["sha256"], sha256(piano_file)
    stamp = make_stamp(CODE, known_by, plan.first, plan.last, asdict(audio), asdict(features))
    with threads(1):  # as many processes as there are cores compute others
        return build_shard(folder, plan.name, stamp, write)


def _computed(
    source: ShardFolder, plan: FeaturePlan, piano: Piano, audio: AudioFormat, features: Features
) -> Iterator[tuple[Segment, SegmentFeatures]]:
    """Segments of a plan with their features, one after another."""
    tar, make = source.open(plan.shard), FeatureMaker(piano, audio, features)
    for row in range(plan.first, plan.last):
        segment = read_segment(tar, row)
        yield segment, make(segment)


def _plain(moments: Moments) -> dict[str, list[float]]:
    """Moments as JSON, to the last bit."""
    return {name: value.tolist() for name, value in vars(moments).items()}


def read_moments(part: dict[str, Any]) -> Moments:
    """Moments of all gains of a split, by its part of an index."""
    plain = [entry["moments"] for entry in part["shards"]]
    return reduce(add, [Moments(**{name: np.array(value) for name, value in row.items()}) for row in plain])
