"""When strikes really sound: one time per strike, found from the recordings.

A hammer that a machine or a hand throws comes when it comes, some milliseconds around what its MIDI says,
and where labels were guessed from audio they are no better. Averages over strikes cancel then, though strikes
of one key are the same sound, earlier or later. So every key is aligned to itself
(`diffsynth.fitting.alignment_by_template`), in whitened recordings; then again, every strike in what the
sounds of all others leave, for in music there are always others.

All times of a key are told from where its template begins to sound. Strikes that are not like their template,
and everything else that events say, move by the median of their recording.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.alignment_by_template import (
    BEFORE,
    FEWEST,
    LENGTH,
    REACH,
    SEED_ROUNDS,
    Aligned,
    Slide,
    align,
    beginning,
)
from diffsynth.fitting.takes import Take
from diffsynth.fitting.whitening import whiten
from diffsynth.midi.events import KEYS, LOWEST_KEY, NOTE_ON, Events
from diffsynth.midi.strikes import soundings

LIKE = 0.35  # correlation with its template from which on a strike has a time of its own
EXACT = 0.001  # s: labels whose median error is below that stay as they are
CLEANINGS = 2  # times that strikes are aligned in what others leave
SOUND = 1.0  # s of a strike that are taken away from others
ENOUGH = 0.05  # of all strikes, by power, that must last so long
SHORTEST = 0.02  # s from a strike to its damper
Real = NDArray[np.float64]


@dataclass(frozen=True)
class Strike:
    """Where a strike of a key is labelled: recording, sample, and samples until its damper falls."""

    recording: int
    onset: int
    free: int


def correct_times(recordings: Sequence[Take]) -> list[Take]:
    """The recordings with events where strikes sound; as they are where labels are exact."""
    rate = recordings[0].rate
    white, strikes = whiten(recordings), _strikes(recordings)
    found: dict[int, Aligned] = {}
    for key, of_key in strikes.items():
        segments = _segments(white, of_key, rate)
        found[key] = align(segments, np.array([strike.free for strike in of_key]), rate)
    for _ in range(CLEANINGS):
        found = _without_others(white, strikes, found, rate)
    reach, late, scatter = round(REACH * rate), dict[tuple[int, int, int], int](), list[float]()
    for key, aligned in found.items():
        like = np.flatnonzero(aligned.likeness > LIKE)
        moved = aligned.lag - reach + beginning(aligned.template, rate)
        scatter += np.abs(moved[like] - np.median(moved[like])).tolist() if len(like) else []
        for row in like.tolist():
            late[strikes[key][row].recording, key, strikes[key][row].onset] = int(moved[row])
    if not scatter or np.median(scatter) < EXACT * rate:
        return list(recordings)
    return [_moved(recording, _of(late, index), rate) for index, recording in enumerate(recordings)]


def _without_others(
    white: Sequence[NDArray[np.float32]],
    strikes: dict[int, list[Strike]],
    found: dict[int, Aligned],
    rate: int,
) -> dict[int, Aligned]:
    """Strikes aligned again, each in what the sounds of all others leave."""
    rest, before = [audio.copy() for audio in white], round((REACH + BEFORE) * rate)
    sounds = {key: _sound(white, strikes[key], aligned, rate) for key, aligned in found.items()}
    parts: dict[int, list[tuple[int, int, NDArray[np.float32]]]] = {}
    for key, aligned in found.items():
        parts[key] = []
        for strike, lag, likeness, gain in zip(
            strikes[key], aligned.lag.tolist(), aligned.likeness.tolist(), aligned.gain.tolist(), strict=True
        ):
            begin, length = strike.onset - before + lag, strike.free + round(BEFORE * rate)
            sound = (gain if likeness > LIKE else 0.0) * sounds[key][:length]
            cut = sound[max(-begin, 0) : max(len(rest[strike.recording]) - begin, 0)].astype(np.float32)
            parts[key].append((strike.recording, max(begin, 0), cut))
            rest[strike.recording][max(begin, 0) :][: len(cut)] -= cut
    again = {}
    for key, aligned in found.items():
        segments = _segments(rest, strikes[key], rate)
        for segment, strike, (_, begin, own) in zip(segments, strikes[key], parts[key], strict=True):
            place = begin - (strike.onset - before)
            part = own[max(-place, 0) :][: len(segment) - max(place, 0)]
            segment[max(place, 0) :][: len(part)] += part
        slide = Slide(segments, rate)
        rows = np.arange(len(segments))
        again[key] = slide.aligned(slide.refine(aligned.template, rows, SEED_ROUNDS))
    return again


def _sound(
    white: Sequence[NDArray[np.float32]], strikes: Sequence[Strike], aligned: Aligned, rate: int
) -> Real:
    """[time] what the template of a key goes on with, while dampers are up; mean over its strikes."""
    total, weight = np.zeros((2, round(SOUND * rate)))
    before = round((REACH + BEFORE) * rate)
    for strike, lag, likeness, gain in zip(
        strikes, aligned.lag.tolist(), aligned.likeness.tolist(), aligned.gain.tolist(), strict=True
    ):
        begin = strike.onset - before + lag
        part = white[strike.recording][max(begin, 0) : begin + strike.free + round(BEFORE * rate)]
        if likeness > LIKE and begin >= 0:
            part = part[: len(total)]
            total[: len(part)] += gain * part
            weight[: len(part)] += gain**2
    return np.where(weight > ENOUGH * weight.max(initial=0.0), total / np.maximum(weight, 1e-30), 0.0)


def _strikes(recordings: Sequence[Take]) -> dict[int, list[Strike]]:
    """The strikes of every key that is struck often enough."""
    found: list[list[Strike]] = [[] for _ in range(KEYS)]
    for index, recording in enumerate(recordings):
        for key, _, onset, _, end in soundings(recording.events, len(recording.audio)).tolist():
            found[key].append(Strike(index, onset, end - onset))
    return {key: of_key for key, of_key in enumerate(found) if len(of_key) >= FEWEST}


def _segments(
    white: Sequence[NDArray[np.float32]], strikes: Sequence[Strike], rate: int
) -> NDArray[np.float32]:
    """[n, samples] the surroundings of some strikes."""
    return np.stack([_segment(white[strike.recording], strike.onset, rate) for strike in strikes])


def _segment(white: NDArray[np.float32], onset: int, rate: int) -> NDArray[np.float32]:
    """What a template is slid along: `REACH` and `BEFORE` before a label, then `LENGTH` and `REACH`."""
    reach, before, length = (round(seconds * rate) for seconds in (REACH, BEFORE, LENGTH))
    begin, end = onset - reach - before, onset + reach - before + length
    inside = white[max(begin, 0) : max(end, 0)]
    left = min(max(-begin, 0), end - begin)
    return np.pad(inside, (left, end - begin - left - len(inside)))


def _of(late: dict[tuple[int, int, int], int], recording: int) -> dict[tuple[int, int], int]:
    """By key and onset, the strikes of one recording."""
    return {(key, onset): moved for (index, key, onset), moved in late.items() if index == recording}


def _moved(recording: Take, late: dict[tuple[int, int], int], rate: int) -> Take:
    """A recording whose strikes begin where they were found, everything else moved by their median."""
    usual = int(np.median(list(late.values()))) if late else 0
    events: Events = recording.events.copy()
    latest: dict[int, int] = {}
    moved = []
    for position, kind, number, value in events.tolist():
        strike = kind == NOTE_ON and value > 0
        place = position + (late.get((number - LOWEST_KEY, position), usual) if strike else usual)
        if strike:
            place = max(place, latest.get(number, -1) + 1, 0)
            latest[number] = place
        elif number in latest and kind != 1:
            place = max(place, latest[number] + round(SHORTEST * rate))
            latest[number] = place
        moved.append(max(place, 0))
    events["position"] = moved
    events = events[np.argsort(events["position"], kind="stable")]
    return replace(recording, events=events[events["position"] < len(recording.audio)])
