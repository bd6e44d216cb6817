"""Sound and picture of a passage: the recording, a voice, and what a SoundFont makes of the same MIDI.

    python benchmarks/sounds.py PAIRS PIECE VOICE.safetensors OUT --from 5 --seconds 12

PAIRS holds PIECE.mid and its recording. Writes OUT-recording.ogg, OUT-diffsynth.ogg and OUT-soundfont.ogg,
all at the level of the recording, and OUT.png, their spectrograms above one another; prints what
`diffsynth evaluate` measures of the last two, the mean of all channels.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import soundfile

from diffsynth.audio.channels import mixed
from diffsynth.audio.files import Audio, padded, read_audio, resample
from diffsynth.benchmark.offsets import offset
from diffsynth.datasets.folder import find_pairs
from diffsynth.datasets.instrument import Instrument
from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.pair import Pair
from diffsynth.evaluation.registry import measure
from diffsynth.midi.files import read_midi
from diffsynth.runs.hearing import spectrograms
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.weights import load_voice

SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
PART = 65536  # samples
SETTINGS = Evaluate([1024, 2048, 4096], 0.05, 50.0)
HIGHEST = 12000.0  # Hz that is shown


def listen(given: argparse.Namespace) -> tuple[Audio, dict[str, Pair]]:
    """The passage as recorded, [time, c], and beside it as it is played by the voice and by the SoundFont."""
    voice: Any = load_voice(given.voice)
    rate, channels = voice.config.audio.sample_rate, voice.config.audio.channels
    pairs = {pair.title: pair for pair in find_pairs(given.pairs)[0]}
    if given.piece not in pairs:
        sys.exit(f"{given.pairs} has no pair {given.piece}; it has {', '.join(pairs) or 'none'}")
    target = resample(*read_audio(pairs[given.piece].audio, channels), rate)
    events = read_midi(pairs[given.piece].midi)
    events = events[events["time"] < given.begin + given.seconds]
    soundfont = Instrument(str(given.soundfont), sample_rate=rate, channels=channels)
    played = {"diffsynth": render(Synthesizer(voice), events), "soundfont": soundfont.play(events)}
    begin, length = round(given.begin * rate), round(given.seconds * rate)
    compared = {}
    recorded = target[begin : begin + length]
    for name, sound in played.items():
        late = offset(mixed(target[: begin + length]), mixed(sound[: begin + length]), rate, given.lag / 1000)
        moved = padded(sound, begin + round(late * rate), length)
        compared[name] = Pair(recorded, moved, rate, SETTINGS)
    return recorded, compared


def main() -> None:
    """Write the sounds and the picture, and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("piece")
    parser.add_argument("voice", type=Path)
    parser.add_argument("out", type=Path, help="beginning of the names of what is written")
    parser.add_argument("--from", dest="begin", type=float, default=5.0, help="s")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--soundfont", type=Path, default=Path(SOUNDFONT))
    parser.add_argument("--lag", type=float, default=60.0, help="delay that is removed, ms at most")
    given = parser.parse_args()
    recorded, pairs = listen(given)
    sounds = {"recording": recorded} | {name: pair.prediction for name, pair in pairs.items()}
    rate = next(iter(pairs.values())).rate
    for name, sound in sounds.items():
        write_ogg(given.out.with_name(f"{given.out.name}-{name}.ogg"), sound, rate)
    path = given.out.with_name(f"{given.out.name}.png")
    spectrograms(sounds, rate, HIGHEST).savefig(path, dpi=80, metadata={"Software": None})
    for name, pair in pairs.items():
        print(name, {key: round(value, 4) for key, value in measure(pair).items()})


def write_ogg(path: Path, sound: Audio, rate: int) -> None:
    """Write Ogg Vorbis in parts: libsndfile 1.2.2 crashes if it is given a minute at once."""
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    with soundfile.SoundFile(path, "w", rate, channels, format="OGG", subtype="VORBIS") as file:
        for begin in range(0, len(sound), PART):
            file.write(np.clip(sound[begin : begin + PART], -1.0, 1.0))


if __name__ == "__main__":
    main()
