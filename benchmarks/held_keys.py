"""How a fitted piano follows keys that are held, from the strike to the end.

    python benchmarks/held_keys.py VOICE_OR_PIANO.safetensors [--stretch 6] [--program 0] [--gain 0.6]

Renders every key by itself, held long (15.6 s at the bottom, 4 s at the top), with FluidSynth, and
compares with the modes of the piano, nothing learned. For stretches of time after the strike: what is not
explained (dB of what is heard) and by how much the level is wrong (dB), means over the keys that last.
"""

import argparse
import os
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # results and cores: see diffsynth.runs.parallel

import numpy as np
from safetensors.numpy import load_file

from diffsynth.datasets.composer.generator import every_key
from diffsynth.datasets.soundfont import render_soundfont, snap
from diffsynth.errors import UserError
from diffsynth.fitting.key_modes import remainder
from diffsynth.fitting.strokes import find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import to_samples
from diffsynth.midi.strikes import soundings
from diffsynth.piano.piano import Piano, load_piano
from diffsynth.synthesis.weights import load_voice

SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
RATE = 24000
AGES = (0.0, 0.1, 0.5, 1.5, 3.0, 6.0, 12.0)  # s
SEED = 4711  # not one of the corpus


def read_piano(path: Path) -> Piano:
    """The piano of a voice, or a piano as `diffsynth fit` writes it."""
    try:
        return load_piano(path) if "key" in load_file(path) else load_voice(path).piano
    except UserError as error:
        raise SystemExit(str(error)) from error


def decibels(ratio: float) -> float:
    """Of a ratio of powers."""
    return float(10 * np.log10(ratio + 1e-9))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("piano", type=Path)
    parser.add_argument("--stretch", type=float, default=6.0)
    parser.add_argument("--program", type=int, default=0)
    parser.add_argument("--gain", type=float, default=0.6)
    given = parser.parse_args()
    if not given.piano.is_file():
        parser.error(f"{given.piano} does not exist")
    piano = read_piano(given.piano)
    events = snap(every_key(SEED, ((40, 127),), given.stretch))
    audio = render_soundfont(events, SOUNDFONT, RATE, program=given.program, gain=given.gain)
    recording = Take(audio.astype(np.float32), to_samples(events, RATE), RATE)
    (rest,) = remainder(piano, [recording], find_strokes([recording], piano))
    print("| s after the strike | keys | not explained (dB) | level wrong by (dB) |\n|---|---|---|---|")
    for first, last in pairwise(AGES):
        left, wrong = [], []
        for _, _, onset, damp, _ in soundings(recording.events, len(audio)).tolist():
            begin, end = onset + round(first * RATE), onset + round(last * RATE)
            if end <= damp:
                heard, missing = audio[begin:end].astype(np.float64), rest[begin:end].astype(np.float64)
                power = float(heard @ heard)
                left.append(decibels(float(missing @ missing) / power))
                wrong.append(abs(decibels(float(np.sum((heard - missing) ** 2)) / power)))
        print(f"| {first:g} to {last:g} | {len(left)} | {np.mean(left):.1f} | {np.mean(wrong):.1f} |")


if __name__ == "__main__":
    main()
