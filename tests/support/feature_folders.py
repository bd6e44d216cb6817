"""Folders of features made of given arrays, written as the stage writes them."""

import tempfile
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np

from diffsynth.audio.format import AudioFormat
from diffsynth.representation.feature_shards import FeatureFolder, write_feature_shard
from diffsynth.representation.features import SegmentFeatures
from diffsynth.representation.targets import Targets
from diffsynth.runs.files import sha256, write_json
from diffsynth.shards.pieces import Piece
from diffsynth.shards.segments import Segment

RATE, FRAME = 24000, 128
ROOT, numbers = tempfile.TemporaryDirectory(), count()  # the folder goes with the process


@dataclass
class Arrays:
    """Features of s segments: cond [s, l, c], levels [s, l, 1 + n, b] and sounds [s, l, 1 + n, FRAME].

    Every segment is a performance of its own, of which so many hops are recorded. Sounds are silent unless
    given.
    """

    cond: np.ndarray
    levels: np.ndarray
    recorded: list[int] | None = None
    sounds: np.ndarray | None = None

    def write(self, folder, features, split="train", per_shard=2):
        """Write them as the only split of a folder."""
        hops = self.cond.shape[1]
        recorded = self.recorded or [hops] * len(self.cond)
        shards = []
        for first in range(0, len(self.cond), per_shard):
            rows = range(first, min(first + per_shard, len(self.cond)))
            path = folder / f"{split}-{len(shards):06d}.tar"
            path.parent.mkdir(exist_ok=True, parents=True)
            samples = [(segment(row, recorded[row]), self.row(row)) for row in rows]
            targets = Targets(features, AudioFormat(RATE, FRAME))
            samples, moments, loudest = write_feature_shard(path, samples, targets, RATE, FRAME)
            pieces = [asdict(Piece(f"{row:03d}", 0, 1, recorded[row] * FRAME)) for row in rows]
            sums = {name: value.tolist() for name, value in vars(moments).items()}
            facts = {"name": path.name, "sha256": sha256(path), "samples": samples, "pieces": pieces}
            levels = [loudest[piece["name"]] for piece in pieces]
            shards.append({**facts, "moments": sums, "loudest": levels})
        split_part = {"samples": len(self.cond), "shards": shards}
        facts = {"dataset": None, "segment": hops * FRAME / RATE, "sample_rate": RATE, "hop": FRAME}
        facts |= {"hops": hops, "floor": features.floor}
        write_json(folder / "index.json", {**facts, "splits": {split: split_part}})

    def row(self, row):
        """Features of a segment."""
        shape = *self.levels.shape[1:3], FRAME
        sounds = np.zeros(shape, np.float32) if self.sounds is None else self.sounds[row]
        return SegmentFeatures(self.cond[row], self.levels[row], sounds)

    def opened(self, features, per_shard=2):
        """Written to a folder and opened."""
        folder = Path(ROOT.name) / str(next(numbers))
        self.write(folder, features, per_shard=per_shard)
        return FeatureFolder(folder, "train")


def levels_of(gains, loudness):
    """Levels [.., 2, b] of an excitation so far above the floor, 0 to 1 at 40 dB, and of what gains ask for.

    What is not heard, loudness 0, has no gain.
    """
    given = 4.0 * np.asarray(loudness, np.float64) + 0.0 * gains
    wanted = np.where(given > 0, given + 2 * gains / np.log(10), 0.0)
    return np.stack([wanted, given], axis=-2).clip(0).astype(np.float16)


def segment(row, recorded):
    """What a sample says of itself."""
    nothing = np.zeros(0, np.float32)
    return Segment(f"{row:03d}", 0, 0.0, recorded * FRAME / RATE, nothing, nothing)
