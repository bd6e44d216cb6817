"""Which part of a corpus a piano is fitted to: bounded, however many hours there are.

A corpus within the bound is taken as a whole. A longer one is cut into stretches of about a minute, where
the fewest keys sound. Then the stretch that adds most per second to the strikes that keys still lack is
taken, again and again, until every key has enough or the bound is reached. A strike counts less if more keys
sound with it; the longest note of a key that rings alone counts as several strikes. Only events are read for
the choice, and audio only of what is taken. The same corpus gives the same stretches.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from diffsynth.audio.files import AudioFile
from diffsynth.errors import UserError
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import CONTROL, KEYS, PEDALS, Events, to_samples
from diffsynth.midi.strikes import GRID, sounding_map, soundings
from diffsynth.runs.files import read_json

STRETCH = 60.0  # s
AROUND = 10.0  # s before and after, within which a cut is placed
ENOUGH = 40.0  # strikes of a key, each by its worth
LONGEST = 20.0  # strikes, the worth of the longest note of a key that rings alone; others: their share
BEGINNING = 0.25  # s after a strike in which other keys reduce its worth
ALIKE = 1e-9  # relative: stretches that add as much but for rounding, of which the first is taken


@dataclass(frozen=True)
class Stretch:
    """Samples `begin` to `end` of a recording and what they hold of every key.

    Attributes:
        path: of the recording.
        events: from `begin` on.
        begin: sample.
        end: sample.
        strikes: [88] strikes that start in it, each by its worth.
        alone: [88] s for which the longest of them rings by itself.

    A strike in whose beginning n keys sound at a time, itself included, counts 1 / n^2: it is 1 / n of what
    is heard, and of that the other keys cover all but 1 / n.
    """

    path: Path
    events: Events
    begin: int
    end: int
    strikes: NDArray[np.float64]
    alone: NDArray[np.float64]


def read_takes(aligned: Path, minutes: float = np.inf, split: str = "train") -> list[Take]:
    """Aligned performances of one split, or a choice of stretches if they are longer than `minutes`.

    Raises:
        UserError: there is none.
    """
    index = read_json(aligned / "index.json")
    names = [p["name"] for p in index["performances"] if p["split"] == split and p["status"] == "ok"]
    if not names:
        raise UserError(f"{aligned} holds no performance of the {split} split")
    rates, whole = zip(*(_whole(aligned, name) for name in names), strict=True)
    limit = round(60 * minutes * rates[0]) if np.isfinite(minutes) else sum(w.end for w in whole)
    parts = list(whole)
    if sum(stretch.end for stretch in whole) > limit:
        parts = choose([part for stretch in whole for part in cut_stretch(stretch, rates[0])], limit)
    return [_read(part, rates[0]) for part in parts]


def _whole(aligned: Path, name: str) -> tuple[int, Stretch]:
    """Sample rate, and all of a performance as one stretch."""
    path = aligned / f"{name}.flac"
    with AudioFile(path) as file:
        rate, length = file.rate, len(file)
    events = to_samples(np.load(aligned / f"{name}.npy", allow_pickle=False), rate)
    notes = soundings(events, length)
    sounding = sounding_map(notes, length, rate).sum(axis=0)
    return rate, Stretch(
        path, events, 0, length, _strikes(notes, sounding, rate), _alone(notes, sounding, rate)
    )


def cut_stretch(whole: Stretch, rate: int) -> list[Stretch]:
    """A recording in stretches of about a minute, cut where the fewest strings sound."""
    notes = soundings(whole.events, whole.end)
    sounding = sounding_map(notes, whole.end, rate).sum(axis=0)
    borders = [0]
    for middle in np.arange(STRETCH, whole.end / rate - AROUND, STRETCH):
        low, high = (int((middle + side * AROUND) * rate) // GRID for side in (-1, 1))
        borders.append((low + int(np.argmin(sounding[low:high]))) * GRID)
    borders.append(whole.end)
    parts = []
    for begin, end in pairwise(borders):
        inside = (notes["onset"] >= begin) & (notes["onset"] < end)
        parts.append(
            Stretch(
                whole.path,
                _cut_events(whole.events, begin, end),
                begin,
                end,
                _strikes(notes[inside], sounding, rate),
                _alone(notes[inside], sounding, rate),
            )
        )
    return parts


def _strikes(notes: NDArray[np.void], sounding: NDArray[np.int64], rate: int) -> NDArray[np.float64]:
    """Worth of the strikes of every key, given how many keys sound at every step of the recording."""
    steps = round(BEGINNING * rate) // GRID + 1
    most = maximum_filter1d(sounding, steps, origin=-(steps // 2), mode="nearest")  # from each step on
    together = most[notes["onset"] // GRID].clip(1)
    return np.bincount(notes["key"], 1.0 / together**2, minlength=KEYS).astype(np.float64)


def _alone(notes: NDArray[np.void], sounding: NDArray[np.int64], rate: int) -> NDArray[np.float64]:
    """Seconds for which a key is the only one that sounds, in the longest of its notes."""
    steps = np.concatenate([[0], np.cumsum(sounding == 1)])
    longest = np.zeros(KEYS, dtype=np.int64)
    np.maximum.at(longest, notes["key"], steps[notes["end"] // GRID] - steps[notes["onset"] // GRID])
    return longest * GRID / rate


def _cut_events(events: Events, begin: int, end: int) -> Events:
    """Events from `begin` to `end`, positions counted from `begin`, with the pedals as they stand there."""
    before = events[(events["position"] < begin) & (events["kind"] == CONTROL)]
    pedals = [before[before["number"] == number][-1:] for number in PEDALS]
    part = events[(events["position"] >= begin) & (events["position"] < end)]
    part = np.concatenate([*pedals, part])
    part["position"] = np.maximum(part["position"] - begin, 0)
    return part


def choose(stretches: list[Stretch], limit: int) -> list[Stretch]:
    """Stretches of at most `limit` samples together, or the one that adds most, in their own order."""
    lacking, longest = np.full(KEYS, ENOUGH), np.zeros(KEYS)
    left, chosen = list(range(len(stretches))), list[int]()
    length = np.array([stretch.end - stretch.begin for stretch in stretches])
    strikes = np.stack([stretch.strikes for stretch in stretches])
    alone = np.stack([stretch.alone for stretch in stretches])
    alone = LONGEST * alone / np.maximum(alone.max(axis=0), 1e-9)
    while left:
        worth = np.minimum(strikes[left], lacking) + np.maximum(alone[left] - longest, 0.0)
        gain = worth.sum(axis=1) / length[left]
        best = left[int(np.flatnonzero(gain >= (1 - ALIKE) * gain.max())[0])]
        if gain.max() == 0 or (chosen and length[chosen].sum() + length[best] > limit):
            break
        chosen.append(best)
        left.remove(best)
        lacking = np.maximum(lacking - strikes[best], 0.0)
        longest = np.maximum(longest, alone[best])
    return [stretches[i] for i in sorted(chosen)] or stretches[:1]


def _read(stretch: Stretch, rate: int) -> Take:
    with AudioFile(stretch.path) as file:
        audio = file[stretch.begin : stretch.end]
    return Take(audio, stretch.events, rate)
