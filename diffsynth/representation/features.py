"""What networks are trained on: conditions, gains and weights of all segments of a split.

Frames do not depend on block size or model, so one set serves every training run. Arrays are in half
precision: gains and levels need three digits, and hours of data must fit in memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from diffsynth.audio.format import AudioFormat
from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, to_samples
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.piano import Piano
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField, Normaliser
from diffsynth.runs.files import atomic_path
from diffsynth.runs.parallel import parallel_map
from diffsynth.shards.history import RINGS
from diffsynth.shards.segments import Segment

CHUNK = 32  # frames played at a time: large enough for fast products, small enough for the cache


@dataclass(frozen=True)
class FeatureSet:
    """Features of s segments of l frames.

    Attributes:
        cond: [s, l, c] half precision.
        gains: [s, l, k] log gains in nepers, half precision.
        weight: [s, l, k] 0 where nothing is heard, half precision.
    """

    cond: torch.Tensor
    gains: torch.Tensor
    weight: torch.Tensor

    def normaliser(self) -> Normaliser:
        """Moments of the gains."""
        return Normaliser.measure(self.gains.float().numpy(), self.weight.float().numpy())


def segment_features(
    segment: Segment, piano: Piano, audio: AudioFormat, features: Features
) -> tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.float16]]:
    """Condition [l, c], gains [l, k] and weights [l, k] of one segment.

    Events before the segment are played first, unheard, so that it starts with what still rings. Of those
    that are older than a string can ring, only the dampers count.
    """
    # Events of a recording say when its strikes sound: how they add up is left to chance in playing only.
    piano = replace(piano, jitter=0.0)
    field, bank = GainField(piano, audio, features), Bank(piano, audio.sample_rate, audio.frame)
    old = segment.events["time"] < -RINGS
    list(bank.dampers.actions(to_samples(segment.events[old], audio.sample_rate)))
    events = to_samples(segment.events[~old], audio.sample_rate)
    length = len(segment.audio) // audio.frame
    # Played from the first note on: how the pedals stand by then needs no time.
    before = -int(events["position"][events["kind"] != CONTROL].min(initial=0))
    begin = -(-before // (CHUNK * audio.frame)) * CHUNK
    events["position"] = events["position"].clip(-begin * audio.frame)
    unity = np.ones((CHUNK + 1, bank.modes), dtype=np.float32)
    conditions, sounds = [], []
    for frame in range(-begin, length, CHUNK):
        start = frame * audio.frame
        low, high = np.searchsorted(events["position"], [start, start + CHUNK * audio.frame])
        part = events[low:high].copy()
        part["position"] -= start
        excitation = bank.process(part, CHUNK)
        if frame >= 0:
            conditions.append(field.condition(excitation))
            sounds.append(bank.play(excitation, unity))
    gains, weight = field.gains(
        segment.audio[: length * audio.frame], np.concatenate(sounds)[: length * audio.frame]
    )
    # What follows the end of the recording is padding, not silence to be learned.
    weight[round(segment.seconds * audio.sample_rate) // audio.frame :] = 0
    condition = np.concatenate(conditions)[:length]
    return condition.astype(np.float16), gains.astype(np.float16), weight.astype(np.float16)


def build_features(
    segments: Iterable[Segment],
    piano: Piano,
    audio: AudioFormat,
    features: Features,
    workers: int = 1,
    progress: bool = True,
) -> FeatureSet:
    """Features of all segments, in order, computed by so many processes.

    Raises:
        UserError: there is no segment.
    """
    job = partial(segment_features, piano=piano, audio=audio, features=features)
    rows = list(parallel_map(job, list(segments), workers, "features", progress))
    if not rows:
        raise UserError("there is nothing to compute features of: each split needs a performance")
    cond, gains, weight = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
    return FeatureSet(cond, gains, weight)


def save_features(path: str | Path, features: FeatureSet, dataset: str | None = None) -> None:
    """Write a feature set as safetensors, atomically, with the name of its dataset if that is known."""
    header = None if dataset is None else {"dataset": dataset}
    with atomic_path(path) as temporary:
        save_file(
            {name: value.contiguous() for name, value in vars(features).items()}, str(temporary), header
        )


def features_dataset(path: str | Path) -> str | None:
    """The dataset that a feature set was made of; None if it does not say.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            return (file.metadata() or {}).get("dataset")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a feature set: {error}; run `diffsynth features` again") from error


def load_features(path: str | Path) -> FeatureSet:
    """Read a feature set.

    Raises:
        UserError: the file is missing or damaged.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist; run `diffsynth features` first")
    try:
        return FeatureSet(**load_file(str(path)))
    except (SafetensorError, TypeError) as error:
        raise UserError(f"{path} is not a feature set: {error}; run `diffsynth features` again") from error
