"""What networks are trained on: in every hop of a segment, the condition and levels of what is heard.

Hops do not depend on block size or model, so one set serves every training run. `feature_shards` keeps them.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffsynth.audio.channels import apart
from diffsynth.audio.format import AudioFormat
from diffsynth.midi.events import CONTROL, Events, to_samples
from diffsynth.piano.excitation import Excitation
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.piano import Piano
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField
from diffsynth.shards.history import RINGS
from diffsynth.shards.segments import Segment

CHUNK = 32  # frames played at a time: large enough for fast products, small enough for the cache


class SegmentFeatures(NamedTuple):
    """Features of the l hops of a segment.

    Attributes:
        cond: [l, c] condition, as of `GainField`.
        levels: [l, 1 + p, b] levels of the recording and of p parts of the excitation.
        sounds: [l, (1 + p) c, hop] what these are levels of, samples, each of them in c channels.
    """

    cond: NDArray[np.floating]
    levels: NDArray[np.floating]
    sounds: NDArray[np.float32]


class FeatureMaker:
    """Makes the features of segments; what is known of the piano is worked out once for all of them.

    Args:
        piano: plays the events.
        audio: of the segments.
        features: what to compute.
    """

    def __init__(self, piano: Piano, audio: AudioFormat, features: Features) -> None:
        # Events of a recording say when its strikes sound: how they add up is left to chance in playing only.
        piano = replace(piano, jitter=0.0)
        self._audio, self._hop = audio, features.hop
        self._apart = features.noise_bands > 0
        self._field = GainField(piano, audio, features)
        self._bank = Bank(piano, audio.sample_rate, audio.frame)
        self._chunk = -(-CHUNK // features.hop) * features.hop

    def __call__(self, segment: Segment) -> SegmentFeatures:
        """Features of one segment; those parts are the modes by age and the noise, or the sum of both.

        Events before the segment are played first, unheard, so that it starts with what still rings. Of those
        that are older than a string can ring, only the dampers count.
        """
        frame, field, bank = self._audio.frame, self._field, self._bank
        length = len(segment.audio) // (frame * self._hop) * self._hop
        conditions, sounds = [], []
        for excitation, heard in self._play(segment.events, length):
            if heard:
                conditions.append(field.condition(excitation))
                modes = [bank.play_modes(excitation, share) for share in field.age_shares(excitation)]
                sounds.append([*modes, bank.play_noise(excitation)])
        parts = [np.concatenate(part)[: length * frame] for part in zip(*sounds, strict=True)]
        recording = segment.audio[: length * frame]
        if self._apart:
            levels = field.levels_by_age(recording, parts)
        else:
            parts = [sum(parts[1:], parts[0])]
            levels = field.levels(recording, *parts)
        channels = np.concatenate([apart(sound) for sound in (recording, *parts)])
        of_hops = channels.reshape(len(channels), -1, self._hop * frame)
        condition = np.concatenate(conditions)[: length // self._hop]
        return SegmentFeatures(condition, levels, of_hops.swapaxes(0, 1))

    def _play(self, events: Events, length: int) -> Iterator[tuple[Excitation, bool]]:
        """Excitations from the first event on to frame `length`, and whether they belong to the segment."""
        frame, rate, chunk, bank = self._audio.frame, self._audio.sample_rate, self._chunk, self._bank
        bank.reset()
        old = events["time"] < -RINGS
        list(bank.dampers.actions(to_samples(events[old], rate)))
        played = to_samples(events[~old], rate)
        # From the first note on: how the pedals stand by then needs no time.
        before = -int(played["position"][played["kind"] != CONTROL].min(initial=0))
        begin = -(-before // (chunk * frame)) * chunk
        played["position"] = played["position"].clip(-begin * frame)
        for first in range(-begin, length, chunk):
            start = first * frame
            low, high = np.searchsorted(played["position"], [start, start + chunk * frame])
            part = played[low:high].copy()
            part["position"] -= start
            yield bank.process(part, chunk), first >= 0
