"""Folders of features made of given arrays, written as the stage writes them."""

import tempfile
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np

from diffsynth.representation.feature_shards import FeatureFolder, write_feature_shard
from diffsynth.runs.files import sha256, write_json
from diffsynth.shards.pieces import Piece
from diffsynth.shards.segments import Segment

RATE, FRAME = 24000, 128
ROOT, numbers = tempfile.TemporaryDirectory(), count()  # the folder goes with the process


@dataclass
class Arrays:
    """Features of s segments: cond [s, l, c], gains and weight [s, l, k], in half precision.

    Every segment is a performance of its own, of which so many frames are recorded.
    """

    cond: np.ndarray
    gains: np.ndarray
    weight: np.ndarray
    recorded: list[int] | None = None

    def write(self, folder, split="train", per_shard=2):
        """Write them as the only split of a folder."""
        frames = self.cond.shape[1]
        recorded = self.recorded or [frames] * len(self.cond)
        shards = []
        for first in range(0, len(self.cond), per_shard):
            rows = range(first, min(first + per_shard, len(self.cond)))
            path = folder / f"{split}-{len(shards):06d}.tar"
            path.parent.mkdir(exist_ok=True, parents=True)
            samples = [(segment(row, recorded[row]), self.row(row)) for row in rows]
            samples, moments = write_feature_shard(path, samples, RATE)
            pieces = [asdict(Piece(f"{row:03d}", 0, 1, recorded[row] * FRAME)) for row in rows]
            sums = {name: value.tolist() for name, value in vars(moments).items()}
            facts = {"name": path.name, "sha256": sha256(path), "samples": samples, "pieces": pieces}
            shards.append({**facts, "moments": sums})
        split_part = {"samples": len(self.cond), "shards": shards}
        facts = {"dataset": None, "segment": frames * FRAME / RATE, "sample_rate": RATE, "frame": FRAME}
        write_json(folder / "index.json", {**facts, "frames": frames, "splits": {split: split_part}})

    def row(self, row):
        """Arrays of a segment."""
        return self.cond[row], self.gains[row], self.weight[row]

    def opened(self, per_shard=2):
        """Written to a folder and opened."""
        folder = Path(ROOT.name) / str(next(numbers))
        self.write(folder, per_shard=per_shard)
        return FeatureFolder(folder, "train")


def segment(row, recorded):
    """What a sample says of itself."""
    nothing = np.zeros(0, np.float32)
    return Segment(f"{row:03d}", 0, 0.0, recorded * FRAME / RATE, nothing, nothing)
