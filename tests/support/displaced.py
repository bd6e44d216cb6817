"""The demo, whose labels are exact to the sample, with offsets and drifts imposed on it."""

from functools import cache
from pathlib import Path

from diffsynth.alignment.config import Align
from diffsynth.audio.files import read_audio, write_audio
from diffsynth.audio.format import AudioFormat
from diffsynth.datasets.manifest import Performance
from diffsynth.midi.files import read_midi, write_midi

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "data" / "demo"
RATE = 24000
FORMAT = AudioFormat(sample_rate=RATE, frame=128)
CONFIG = Align(max_offset=3.0, max_drift=200.0, max_residual=30.0, min_matched=0.5)


@cache
def performance(name):
    """Events and audio of a demo performance; not to be changed."""
    audio, rate = read_audio(DEMO / f"{name}.flac")
    assert rate == RATE
    return read_midi(DEMO / f"{name}.mid"), audio


def displaced(events, offset, drift):
    """The events on a clock for which audio time = offset + (1 + drift ppm) * MIDI time."""
    moved = events.copy()
    moved["time"] = (events["time"] - offset) / (1 + drift * 1e-6)
    return moved


def entry(folder, name, suffix="flac"):
    return Performance(name, "train", f"{name}.mid", f"{name}.{suffix}", "", "", 0.0)


def add(folder, name, offset=0.0, source="music_12", audio_of=None, seconds=12):
    """A pair of files of the beginning of a demo performance; returns its entry in the manifest."""
    events, _ = performance(source)
    events = displaced(events[events["time"] < seconds], offset, 0)
    write_midi(folder / f"{name}.mid", events, resolution=9600)
    write_audio(folder / f"{name}.flac", performance(audio_of or source)[1][: seconds * RATE], RATE)
    return entry(folder, name)
