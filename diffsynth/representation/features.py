"""What networks are trained on: the condition, the gains and their weights in every frame of a segment.

Frames do not depend on block size or model, so one set serves every training run. Arrays are in half
precision, because gains and levels need three digits. `feature_shards` keeps them.
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
