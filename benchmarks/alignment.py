"""How well imposed clocks are recovered, and wrong pairs rejected.

    python benchmarks/alignment.py FOLDER_OF_MIDI_FILES [--seconds 240] [--soundfont PATH] [--seed 0]

plays the beginning of every MIDI file of at least three minutes through FluidSynth, clean, with noise
20 dB below the music, in a reverberant room, and tuned half a semitone up; imposes offsets of -2 to 2 s
and drifts of -100 to 100 ppm; pairs every recording with the notes of another one; and repeats the clean
case with shorter excerpts. Takes some minutes. Bounds: 95 % recovered within 3 ms and 5 ppm, 95 % of
wrong pairs rejected, at most 2 % of right ones.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import scipy.signal

from diffsynth.alignment.config import Align
from diffsynth.alignment.line_fit import Alignment, measure
from diffsynth.audio.files import Audio, resample
from diffsynth.datasets.soundfont import render_soundfont, snap
from diffsynth.midi.events import Events
from diffsynth.midi.files import read_midi
from pipeline.params import load_params

RATE = 24000
SHORTEST = 180.0  # s of a performance that is used
LENGTHS = (30.0, 60.0, 120.0, 180.0)  # s of excerpts
HALF_SEMITONE = 2 ** (0.5 / 12)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("midi", type=Path, help="folder of MIDI files")
    parser.add_argument("--seconds", type=float, default=240.0, help="longest excerpt")
    parser.add_argument("--soundfont", default="/usr/share/sounds/sf2/FluidR3_GM.sf2")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = load_params().align
    rng = np.random.default_rng(options.seed)
    pieces = render(options.midi, options.seconds, options.soundfont)
    print(f"{len(pieces)} performances of {SHORTEST:g} to {options.seconds:g} s\n")
    print(
        "| variant | recovered | offset error (ms): median, largest | drift (ppm) | wrong rejected | alarms |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    rows = [variant_row(name, change, pieces, config, rng) for name, change in VARIANTS.items()]
    recovered, rejected, alarms = (list(chain.from_iterable(column)) for column in zip(*rows, strict=True))
    print(f"| all | {share(recovered)} | | | {share(rejected)} | {share(alarms)} |\n")
    print("| length (s) | drift error (ppm): median, largest | drift not applied |")
    print("|---|---|---|", flush=True)
    for seconds in (length for length in LENGTHS if length < options.seconds):
        length_row(seconds, pieces, config, rng)


def render(folder: Path, seconds: float, soundfont: str) -> dict[str, tuple[Events, Audio]]:
    """Exactly labelled events and audio of the beginnings of all files that are long enough."""
    pieces = {}
    for path in sorted(folder.glob("*.mid*")):
        events = snap(read_midi(path))
        if events["time"][-1] >= SHORTEST:
            events = events[events["time"] < seconds]
            pieces[path.stem] = (events, render_soundfont(events, soundfont, RATE))
    return pieces


def clean(events: Events, audio: Audio) -> tuple[Events, Audio]:
    """As rendered."""
    return events, audio


def noisy(events: Events, audio: Audio) -> tuple[Events, Audio]:
    """White noise 20 dB below the music."""
    noise = np.random.default_rng(0).standard_normal(len(audio))
    return events, (audio + 0.1 * audio.std() * noise).astype(np.float32)


def reverberant(events: Events, audio: Audio) -> tuple[Events, Audio]:
    """A room: noise that falls by 60 dB in 0.8 s, half as loud as the direct sound (-3 dB in power)."""
    rng, time = np.random.default_rng(1), np.arange(RATE) / RATE
    room = rng.standard_normal(RATE) * 10 ** (-3 * time / 0.8) * np.minimum(time / 0.004, 1)
    room *= 0.7 / np.linalg.norm(room)
    room[0] = 1
    return events, scipy.signal.oaconvolve(audio, room)[: len(audio)].astype(np.float32)


def detuned(events: Events, audio: Audio) -> tuple[Events, Audio]:
    """Played faster by half a semitone, with events that keep up."""
    source = round(RATE * HALF_SEMITONE)
    faster = events.copy()
    faster["time"] *= RATE / source
    return faster, resample(audio, source, RATE)


VARIANTS: dict[str, Callable[[Events, Audio], tuple[Events, Audio]]] = {
    "clean": clean,
    "noise": noisy,
    "reverb": reverberant,
    "detuned": detuned,
}


def displaced(events: Events, offset: float, drift: float) -> Events:
    """The events on a clock for which audio time = offset + (1 + drift ppm) * MIDI time."""
    moved = events.copy()
    moved["time"] = (events["time"] - offset) / (1 + drift * 1e-6)
    return moved


def impose(
    events: Events, audio: Audio, config: Align, rng: np.random.Generator
) -> tuple[Alignment, float, float]:
    """What is measured under a random clock, and its errors in ms and ppm."""
    offset, drift = rng.uniform(-2, 2), rng.uniform(-100, 100)
    found = measure(displaced(events, offset, drift), audio, RATE, config)
    return found, 1000 * abs(found.offset - offset), abs(found.drift - drift)


def variant_row(
    name: str,
    change: Callable[[Events, Audio], tuple[Events, Audio]],
    pieces: dict[str, tuple[Events, Audio]],
    config: Align,
    rng: np.random.Generator,
) -> tuple[list[bool], list[bool], list[bool]]:
    """One row: whether each pair was recovered, each wrong pair rejected, each right pair rejected."""
    recovered, rejected, alarms, matched, wrong, errors = [], [], [], [], [], []
    names = list(pieces)
    for piece, other in zip(names, names[1:] + names[:1], strict=True):
        events, audio = change(*pieces[piece])
        for _ in range(2):
            found, offset_error, drift_error = impose(events, audio, config, rng)
            errors.append((offset_error, drift_error))
            recovered.append(offset_error < 3 and drift_error < 5)
            alarms.append(found.status != "ok")
            matched.append(found.matched)
        found, _, _ = impose(pieces[other][0], audio, config, rng)
        rejected.append(found.status != "ok")
        wrong.append(found.matched)
    offsets, drifts = np.array(errors).T
    print(
        f"| {name} | {share(recovered)} | {np.median(offsets):.2f}, {offsets.max():.2f} | "
        f"{np.median(drifts):.2f}, {drifts.max():.2f} | {share(rejected)} (heard up to {max(wrong):.0%}) | "
        f"{share(alarms)} (heard from {min(matched):.0%}) |",
        flush=True,
    )
    return recovered, rejected, alarms


def length_row(
    seconds: float, pieces: dict[str, tuple[Events, Audio]], config: Align, rng: np.random.Generator
) -> None:
    """Drift errors of clean excerpts of one length."""
    errors, given_up = [], []
    for events, audio in pieces.values():
        part = events[events["time"] < seconds]
        found, _, error = impose(part, audio[: int(seconds * RATE)], replace(config, min_matched=0.0), rng)
        given_up.append(found.drift == 0)
        if not given_up[-1]:
            errors.append(error)
    numbers = f"{np.median(errors):.1f}, {max(errors):.1f}" if errors else "none measured"
    print(f"| {seconds:g} | {numbers} | {share(given_up)} |", flush=True)


def share(values: list[bool]) -> str:
    """How many of them are true."""
    return f"{sum(values)} of {len(values)}"


if __name__ == "__main__":
    main()
