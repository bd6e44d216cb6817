"""The process that plays one performance with sfizz: `python -m diffsynth.datasets.sfz_player`.

It reads `events.npy` of a folder and writes `played.npz` there. See `diffsynth.datasets.sfz`.
"""

import os
import sys
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
VOICES = 2048  # voices are never stolen
TAIL = 2.0  # s after the last event at least ...
LONGEST = 30.0  # ... and at most: until everything has died away


def play(synth: Any, events: Events, rate: int) -> Audio:
    """Play events with an instrument that is loaded.

    Args:
        synth: a `pysfizz._sfizz.Synth` with blocks of `BLOCK` samples.
        events: performance, times in seconds.
        rate: of `synth`, Hz.

    Returns:
        [time, 2], until nothing sounds any more.
    """
    stream = iter(_moved(to_samples(events, rate)))
    last = round(float(events["time"][-1]) * rate)
    least, most = last + TAIL * rate, last + LONGEST * rate
    blocks: list[Audio] = []
    at, event = 0, next(stream, None)
    while at < least or (at < most and synth.get_num_active_voices()):
        while event is not None and event[0] < at + BLOCK:
            _send(synth, event[0] - at, *event[1:])
            event = next(stream, None)
        blocks.append(np.stack(synth.render_block(), axis=1))  # a copy: sfizz uses its buffers again
        at += BLOCK
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


def main(sfz: str, rate: int, folder: Path) -> None:
    """Play `EVENTS` of a folder, if there are any, and write `PLAYED`: audio, and the regions loaded."""
    begin_worker()
    from pysfizz import _sfizz

    events = np.load(folder / EVENTS, allow_pickle=False)
    synth = _sfizz.Synth(rate, BLOCK)
    synth.enable_freewheeling()  # the best interpolation
    synth.set_num_voices(VOICES)
    regions = count_played(synth, Path(sfz).parent) if synth.load_sfz_file(sfz) else 0
    audio = play(synth, events, rate) if regions and len(events) else np.zeros((0, 2), np.float32)
    np.savez(folder / PLAYED, audio=audio, regions=regions)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
