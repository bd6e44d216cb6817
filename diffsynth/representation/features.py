"""What networks are trained on: in every hop of a segment, the condition and levels of what is heard.

Hops do not depend on block size or model, so one set serves every training run. Arrays are in half
precision, because levels need three digits. `feature_shards` keeps them.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diffsynth.audio.format import AudioFormat
from diffsynth.midi.events import CONTROL, to_samples
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.piano import Piano
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField
from diffsynth.shards.history import RINGS
from diffsynth.shards.segments import Segment

CHUNK = 32  # frames played at a time: large enough for fast products, small enough for the cache


def segment_features(
    segment: Segment, piano: Piano, audio: AudioFormat, features: Features
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Condition [l, c] and levels [l, parts, b] of one segment, as of `GainField`, in each of its l hops.

    Events before the segment are played first, unheard, so that it starts with what still rings. Of those
    that are older than a string can ring, only the dampers count.
    """
    # Events of a recording say when its strikes sound: how they add up is left to chance in playing only.
    piano = replace(piano, jitter=0.0)
    field, bank = GainField(piano, audio, features), Bank(piano, audio.sample_rate, audio.frame)
    old = segment.events["time"] < -RINGS
    list(bank.dampers.actions(to_samples(segment.events[old], audio.sample_rate)))
    events = to_samples(segment.events[~old], audio.sample_rate)
    length = len(segment.audio) // (audio.frame * features.hop) * features.hop
    # Played from the first note on: how the pedals stand by then needs no time.
    before = -int(events["position"][events["kind"] != CONTROL].min(initial=0))
    chunk = -(-CHUNK // features.hop) * features.hop
    begin = -(-before // (chunk * audio.frame)) * chunk
    events["position"] = events["position"].clip(-begin * audio.frame)
    unity = np.ones((chunk + 1, bank.modes), dtype=np.float32)
    conditions, sounds = [], []
    for frame in range(-begin, length, chunk):
        start = frame * audio.frame
        low, high = np.searchsorted(events["position"], [start, start + chunk * audio.frame])
        part = events[low:high].copy()
        part["position"] -= start
        excitation = bank.process(part, chunk)
        if frame >= 0:
            conditions.append(field.condition(excitation))
            sounds.append([bank.play_modes(excitation, unity), bank.play_noise(excitation)])
    modes, noise = (np.concatenate(part)[: length * audio.frame] for part in zip(*sounds, strict=True))
    parts = [modes, noise] if features.noise_bands else [modes + noise]
    levels = field.levels(segment.audio[: length * audio.frame], *parts)
    condition = np.concatenate(conditions)[: length // features.hop]
    return condition.astype(np.float16), levels.astype(np.float16)
