"""Sound and picture of a passage: the recording, a voice, and what a SoundFont makes of the same MIDI.

    python benchmarks/sounds.py PAIRS PIECE VOICE.safetensors OUT --from 5 --seconds 12

PAIRS holds PIECE.mid and its recording. Writes OUT-recording.ogg, OUT-diffsynth.ogg and OUT-soundfont.ogg,
all at the level of the recording, and OUT.png, their spectrograms above one another; prints what
`diffsynth evaluate` measures of the last two, the mean of all channels.
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import soundfile
from matplotlib.figure import Figure

from diffsynth.audio.channels import mixed
from diffsynth.audio.files import Audio, padded, read_audio, resample
from diffsynth.benchmark.offsets import offset
from diffsynth.datasets.instrument import Instrument
from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.pair import Pair
from diffsynth.evaluation.registry import measure
from diffsynth.midi.files import read_midi
from diffsynth.runs.hearing import levels_of
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.weights import load_voice

SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
PART = 65536  # samples
SETTINGS = Evaluate([1024, 2048, 4096], 0.05, 50.0)
RANGE, HIGHEST = 80.0, 12000.0  # dB below the loudest, and Hz, that are shown


def listen(given: argparse.Namespace) -> tuple[Audio, dict[str, Pair]]:
    """The passage as recorded, [time, c], and beside it as it is played by the voice and by the SoundFont."""
    voice: Any = load_voice(given.voice)
    rate, channels = voice.config.audio.sample_rate, voice.config.audio.channels
    recording = next(path for path in sorted(given.pairs.glob(f"{given.piece}.*")) if path.suffix != ".mid")
    target = resample(*read_audio(recording, channels), rate)
    events = read_midi(given.pairs / f"{given.piece}.mid")
    events = events[events["time"] < given.begin + given.seconds]
    soundfont = Instrument(str(given.soundfont), sample_rate=rate, channels=channels)
    played = {"diffsynth": render(Synthesizer(voice), events), "soundfont": soundfont.play(events)}
    begin, length = round(given.begin * rate), round(given.seconds * rate)
    pairs = {}
    recorded = target[begin : begin + length]
    for name, sound in played.items():
        late = offset(mixed(target[: begin + length]), mixed(sound[: begin + length]), rate, given.lag / 1000)
        moved = padded(sound, begin + round(late * rate), length)
        pairs[name] = Pair(recorded, moved, rate, SETTINGS)
    return recorded, pairs


def picture(sounds: dict[str, Audio], rate: int) -> Figure:
    """Spectrograms above one another, on one scale of levels, of several channels the mean."""
    levels = {name: levels_of(sound) for name, sound in sounds.items()}
    top = max(float(each.max()) for each in levels.values())
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots(len(levels), 1, sharex=True, sharey=True)
    for axis, (name, each) in zip(axes, levels.items(), strict=True):
        extent = (0.0, len(sounds[name]) / rate, 0.0, rate / 2000)
        limits = {"vmin": top - RANGE, "vmax": top}
        image = axis.imshow(each, origin="lower", aspect="auto", extent=extent, cmap="magma", **limits)
        axis.set(title=name, ylabel="frequency (kHz)", ylim=(0.0, min(HIGHEST, rate / 2) / 1000))
    axes[-1].set_xlabel("time (s)")
    figure.colorbar(image, ax=axes, label="level (dB of full scale)")
    return figure


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
    picture(sounds, rate).savefig(path, dpi=80, metadata={"Software": None})
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
