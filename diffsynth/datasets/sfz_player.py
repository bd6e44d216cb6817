"""The process that plays one performance with sfizz: `python -m diffsynth.datasets.sfz_player`.

It reads `events.npy` of a folder and writes `played.npz` there. See `diffsynth.datasets.sfz`.

sfizz plays `VOICES` voices and ends others where more begin, as when a pedal rises under which much was
played: everything that it held may begin several sounds of its release. Such a performance is played in
passes, each with some of the keys, and with silent pedals in all but the first. What keys do to each other in
an instrument (switches among them, groups that end each other) is then lost between passes.
"""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from diffsynth.audio.files import Audio
from diffsynth.midi.dampers import PEDAL_DOWN
from diffsynth.midi.events import CONTROL, NOTE_ON, PEDALS, SOSTENUTO, SUSTAIN, Events, to_samples
from diffsynth.runs.parallel import begin_worker

EVENTS, PLAYED = "events.npy", "played.npz"
FORMATS = ("WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG")  # that sfizz reads, by libsndfile's names
UP, DOWN = 0, 127  # positions of a pedal that is a switch
GENERATED = "*"  # first letter of samples that are no files
# Samples. sfizz repeats one sample where the first block of a voice ends, so that from there on it is one
# sample late. With short blocks that happens before a sample begins to sound.
BLOCK = 64
VOICES = 256  # of sfizz, at most; it reports so many where it ended others
PASSES = (1, 4, 16, 88)  # tried in turn, until no voice is ended
TAIL = 2.0  # s after the last event at least ...
LONGEST = 30.0  # ... and at most: until everything has died away


class VoicesEndedError(Exception):
    """sfizz has ended voices to play others."""


def play_all(load: Callable[[bool], Any], events: Events, rate: int) -> Audio:
    """Play events in as few passes as no voice is ended in; at last key by key, whatever is ended there.

    Args:
        load: returns a new `pysfizz._sfizz.Synth` as `play` takes it; with silent pedals if it is given True.
        events: performance, times in seconds.
        rate: of the synth, Hz.

    Returns:
        [time, 2], until nothing sounds any more.
    """
    for passes in PASSES[:-1]:
        with suppress(VoicesEndedError):
            return _sum(_pass(load, events, rate, number, passes) for number in range(passes))
    return _sum(_pass(load, events, rate, number, PASSES[-1]) for number in range(PASSES[-1]))


def _pass(load: Callable[[bool], Any], events: Events, rate: int, number: int, passes: int) -> Audio:
    """What one of some passes plays: some keys, and all pedals."""
    own = (events["kind"] != CONTROL) & (events["number"] % passes == number)
    if number and not own.any():
        return np.zeros((0, 2), np.float32)
    part = events[own | (events["kind"] == CONTROL)]
    return play(load(number > 0), part, rate, most=VOICES if passes < PASSES[-1] else None)


def _sum(parts: Iterable[Audio]) -> Audio:
    """Parts of any length together; two of them are in memory at a time."""
    whole = np.zeros((0, 2), dtype=np.float32)
    for part in parts:
        longer, shorter = (whole, part) if len(whole) >= len(part) else (part, whole)
        longer[: len(shorter)] += shorter
        whole = longer
    return whole


def play(synth: Any, events: Events, rate: int, most: int | None = None) -> Audio:
    """Play events with an instrument that is loaded.

    Args:
        synth: a `pysfizz._sfizz.Synth` with blocks of `BLOCK` samples.
        events: performance, times in seconds.
        rate: of `synth`, Hz.
        most: voices that sfizz has.

    Returns:
        [time, 2], until nothing sounds any more.

    Raises:
        VoicesEndedError: these were too few.
    """
    stream = iter(_moved(to_samples(events, rate)))
    last = round(float(events["time"].max(initial=0.0)) * rate)
    least, latest = last + TAIL * rate, last + LONGEST * rate
    blocks: list[Audio] = []
    at, event = 0, next(stream, None)
    while at < least or (at < latest and synth.get_num_active_voices()):
        while event is not None and event[0] < at + BLOCK:
            _send(synth, event[0] - at, *event[1:])
            event = next(stream, None)
        blocks.append(np.stack(synth.render_block(), axis=1))  # a copy: sfizz uses its buffers again
        at += BLOCK
        if most is not None and synth.get_num_active_voices() >= most:
            raise VoicesEndedError
    return np.concatenate(blocks)


def _moved(stream: Any) -> list[tuple[int, int, int, int]]:
    """Events with pedals as sfizz has to have them.

    Sustain and sostenuto are switches, up or down: sfizz holds notes from position 1 on, where half of the
    way counts elsewhere (`diffsynth.midi.dampers`). A pedal that is told again to be where it is is left
    out, because its noise would be heard again.
    """
    places, kept = dict.fromkeys(PEDALS, 0), []
    for position, kind, number, value in stream.tolist():
        if kind == CONTROL and number in (SUSTAIN, SOSTENUTO):
            value = DOWN if value >= PEDAL_DOWN else UP
        if kind != CONTROL or places.get(number) != value:
            kept.append((position, kind, number, value))
        if kind == CONTROL:
            places[number] = value
    return kept


def _send(synth: Any, delay: int, kind: int, number: int, value: int) -> None:
    if kind == CONTROL:
        synth.cc(delay, number, value)
    elif kind == NOTE_ON:
        synth.note_on(delay, number, value)
    else:
        synth.note_off(delay, number, 0)


def count_played(synth: Any, folder: Path) -> int:
    """Regions that sound: sfizz keeps those of files in a format that it cannot read, and plays silence.

    Args:
        synth: has loaded an instrument.
        folder: of the instrument.
    """
    names = [synth.get_region_data(region)["sample_id"] for region in range(synth.get_num_regions())]
    readable = {name: name.startswith(GENERATED) or _format(folder / name) in FORMATS for name in set(names)}
    return sum(readable[name] for name in names)


def _format(path: Path) -> str:
    """Format of an audio file; empty if it is none."""
    try:
        return str(soundfile.info(os.fsencode(path)).format)
    except soundfile.LibsndfileError:
        return ""


def main(sfz: str, silent: str, rate: int, folder: Path) -> None:
    """Play `EVENTS` of a folder, if there are any, and write `PLAYED`: audio, and the regions loaded.

    `silent` is `sfz` with pedals that are not heard.
    """
    begin_worker()
    from pysfizz import _sfizz

    events = np.load(folder / EVENTS, allow_pickle=False)

    def make(path: str) -> Any:
        synth = _sfizz.Synth(rate, BLOCK)
        synth.enable_freewheeling()  # the best interpolation
        synth.set_num_voices(VOICES)
        synth.load_sfz_file(path)
        return synth

    ready = [make(sfz)]
    regions = count_played(ready[0], Path(sfz).parent)

    expected = ready[0].get_num_regions()

    def load(silently: bool) -> Any:
        synth = ready.pop() if ready else make(silent if silently else sfz)
        if synth.get_num_regions() != expected:
            raise RuntimeError("its pedals cannot be silenced, which is needed to play so many voices")
        return synth

    audio = play_all(load, events, rate) if regions and len(events) else np.zeros((0, 2), np.float32)
    np.savez(folder / PLAYED, audio=audio, regions=regions)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
