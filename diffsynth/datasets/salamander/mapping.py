"""The SFZ of the Salamander Grand Piano: which sample plays when.

Borders of keys and velocities, levels, and how they follow velocity and time are those of the SFZ that
comes with the recordings (version 3). Deviations:

* There, samples begin with some milliseconds of near silence, of another length in every layer. Here each
  strike begins `LEAD` before its sound, so that strikes are where their MIDI is, in all layers alike.
* A fade-in of 1 ms, because a sample may now begin with a step.
* The noise of the pedal that falls ends when it rises, and the reverse.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

from diffsynth.audio.files import Audio
from diffsynth.errors import UserError

SAMPLES = "samples"  # folder beside the SFZ
SUFFIX = ".wav"
LAYERS = 16
SOFTEST = (1, 27, 35, 37, 44, 47, 51, 57, 65, 73, 81, 89, 97, 105, 113, 121, 128)  # velocity of each layer
LOWEST, HIGHEST = 21, 108
STEP = 3  # keys from one that was recorded to the next
UNDAMPED = 89  # keys from here on have no dampers
RESONANT = 88  # the last key with string resonances
LOUD = 45  # velocity from which strings resonate in their louder layer
EARLY, FIRST, LEAD = 0.05, 0.2, 0.005  # s, share of the highest value, s

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
KEYS = tuple(range(LOWEST, HIGHEST + 1, STEP))  # that were recorded

# String resonances: layer, the keys of a group, and how they follow velocity and the time since the strike.
RESONANCES = (
    ("L", (21, 28), f"volume=-4 lovel={LOUD} amp_veltrack=94 rt_decay=6"),
    ("L", (29, 37), f"volume=-4 lovel={LOUD} amp_veltrack=94 rt_decay=7"),
    ("L", (38, 49), f"volume=-4 lovel={LOUD} amp_veltrack=90 rt_decay=8"),
    ("L", (50, 88), f"volume=-4 lovel={LOUD} amp_veltrack=90 rt_decay=9"),
    ("S", (21, 43), f"hivel={LOUD - 1} amp_veltrack=95 rt_decay=7"),
    ("S", (44, 88), f"hivel={LOUD - 1} amp_veltrack=90 rt_decay=7"),
    ("V3", (21, 88), "amp_veltrack=96 rt_decay=2"),
)

HEADER = """\
// Salamander Grand Piano V3 (Yamaha C5), recorded by Alexander Holm
// Licence of the recordings: CC BY 3.0, https://creativecommons.org/licenses/by/3.0/
// Written by diffsynth; samples were converted, and begin shortly before they sound

<control>
default_path=samples/
hint_ram_based=1
"""


def note_name(key: int) -> str:
    """Name of a key, 60 is C4."""
    return f"{NAMES[key % 12]}{key // 12 - 1}"


def strikes() -> list[str]:
    """Names of the samples of strikes."""
    return [f"{note_name(key)}v{layer}" for layer in range(1, LAYERS + 1) for key in KEYS]


def resonances() -> list[str]:
    """Names of the samples of string resonances: loud, soft, and what always sounds."""
    keys = [key for key in KEYS if key <= RESONANT]
    return [f"harm{layer}{note_name(key)}" for layer in ("L", "S", "V3") for key in keys]


def releases() -> list[str]:
    """Names of the samples of keys that are released."""
    return [f"rel{number}" for number in range(1, HIGHEST - LOWEST + 2)]


def pedals() -> list[str]:
    """Names of the samples of the pedal: down and up, two of each."""
    return ["pedalD1", "pedalD2", "pedalU1", "pedalU2"]


def sound_begins(audio: Audio, rate: int) -> int:
    """Sample from which to play a strike, [time, channel] at a rate in Hz: `LEAD` before it sounds."""
    level = np.abs(audio[: round(EARLY * rate)]).max(axis=1)
    first = int(np.argmax(level >= FIRST * level.max()))
    return max(first - round(LEAD * rate), 0)


def write_sfz(path: Path) -> None:
    """Write the SFZ beside the folder of its samples.

    Raises:
        UserError: a sample is missing or cannot be read.
    """
    folder = path.parent / SAMPLES
    names = [*strikes(), *resonances(), *releases(), *pedals()]
    if missing := [name for name in names if not (folder / f"{name}{SUFFIX}").is_file()]:
        raise UserError(f"{folder} lacks {len(missing)} samples, the first is {missing[0]}{SUFFIX}")
    begins = {}
    for name in strikes():
        with soundfile.SoundFile(folder / f"{name}{SUFFIX}") as file:
            audio = file.read(round(EARLY * file.samplerate), dtype="float32", always_2d=True)
            begins[name] = sound_begins(audio, file.samplerate)
    path.write_text(sfz_text(begins), encoding="utf8")


def sfz_text(begins: Mapping[str, int]) -> str:
    """The SFZ; `begins` are the first samples of strikes that are played."""
    return "\n".join([HEADER, *_strikes(begins), *_resonances(), *_releases(), *_pedals(), ""])


def _strikes(begins: Mapping[str, int]) -> Iterator[str]:
    for damped, release in ((True, 1), (False, 5)):
        yield f"\n// Strikes of keys {'with' if damped else 'without'} dampers"
        yield f"<group> amp_veltrack=73 ampeg_attack=0.001 ampeg_release={release}"
        for key in KEYS:
            if (key < UNDAMPED) != damped:
                continue
            for layer, (softest, above) in enumerate(pairwise(SOFTEST), start=1):
                name = f"{note_name(key)}v{layer}"
                yield f"{_region(name, key)} lovel={softest} hivel={above - 1} offset={begins[name]}"


def _resonances() -> Iterator[str]:
    for layer, (lowest, highest), rest in RESONANCES:
        yield f"\n// Strings that resonate when a damper falls, layer {layer}"
        yield f"<group> trigger=release {rest}"
        yield from (_region(f"harm{layer}{note_name(k)}", k) for k in KEYS if lowest <= k <= highest)


def _releases() -> Iterator[str]:
    yield "\n// Keys that are released"
    yield "<group> trigger=release pitch_keytrack=0 volume=-37 amp_veltrack=82 rt_decay=2"
    for key, name in zip(range(LOWEST, HIGHEST + 1), releases(), strict=True):
        yield f"<region> sample={name}{SUFFIX} key={key}"


def _pedals() -> Iterator[str]:
    for number, (letter, what, positions, volume) in enumerate(
        (("D", "falls", (126, 127), -20), ("U", "rises", (0, 1), -19)), start=1
    ):
        low, high = positions
        yield f"\n// The pedal {what}"
        yield (
            f"<group> group={number} off_by={3 - number} lokey=-1 hikey=-1 "
            f"on_locc64={low} on_hicc64={high} volume={volume}"
        )
        yield f"<region> sample=pedal{letter}1{SUFFIX} lorand=0 hirand=0.5"
        yield f"<region> sample=pedal{letter}2{SUFFIX} lorand=0.5 hirand=1"


def _region(name: str, key: int) -> str:
    """The keys that the sample of a key plays: those nearest to it."""
    lowest, highest = max(key - 1, LOWEST), min(key + 1, HIGHEST)
    return f"<region> sample={name}{SUFFIX} lokey={lowest} hikey={highest} pitch_keycenter={key}"
