"""A tiny SFZ instrument of synthesised samples, and whether sfizz is installed."""

from importlib.util import find_spec

import numpy as np
import pytest
import soundfile

from diffsynth.datasets.sfz import render_sfz
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events

needs_sfizz = pytest.mark.skipif(find_spec("pysfizz") is None, reason="pysfizz is not installed")

RATE = 48000
LEVEL = 10 ** (-7.35 / 20) * (100 / 127) ** 2  # of sfizz: its master volume, and controller 7 at 100
TONE, KEY = 440.0, 69
RELEASE, PEDAL = 1000.0, 2500.0  # Hz, of the sounds by which they are known

SFZ = """\
<control> default_path=samples/
<global> amp_veltrack=0
<group> ampeg_release=0.02
<region> sample=tone.flac key=69 volume_oncc67=-6
<region> sample=high.wav key=80
<region> sample=left.wav key=70 tune=0
<group> trigger=release
<region> sample=release.wav key=69
<group> lokey=-1 hikey=-1
<region> sample=pedal.wav on_locc64=126 on_hicc64=127
<group> key=90
<region> sample=tone.flac pitch_keycenter=90 lorand=0 hirand=0.5
<region> sample=high.wav pitch_keycenter=90 lorand=0.5 hirand=1
"""


def sine(frequency, seconds, decay=np.inf, silence=0):
    """A cosine that begins at full level after so many samples of silence."""
    time = np.arange(round(seconds * RATE)) / RATE
    tone = 0.5 * np.cos(2 * np.pi * frequency * time) * np.exp(-time / decay)
    return np.concatenate([np.zeros(silence), tone])


def tiny_sfz(folder):
    """Write the instrument into a folder that does not exist; returns its path."""
    samples = folder / "samples"
    samples.mkdir(parents=True)
    left = sine(TONE * 2 ** (1 / 12), 1.0)
    sounds = {
        "tone.flac": sine(TONE, 6.0, 4.0),  # longer than what sfizz loads before it streams
        "high.wav": sine(15000.0, 1.0),
        "left.wav": np.stack([left, 0.25 * left], axis=1),
        "release.wav": sine(RELEASE, 0.2),
        "pedal.wav": sine(PEDAL, 0.2),
    }
    for name, sound in sounds.items():
        soundfile.write(samples / name, sound, RATE, subtype="PCM_16")
    (folder / "tiny.sfz").write_text(SFZ)
    return folder / "tiny.sfz"


def note(on, off, key=KEY, velocity=80):
    """Events of a note, times in s."""
    return [(on, NOTE_ON, key, velocity), (off, NOTE_OFF, key, 0)]


def render(instrument, *rows, rate=RATE, gain=1.0):
    """What an instrument makes of events in any order."""
    return render_sfz(make_events(sorted(rows)), instrument, rate, gain)


def amplitude(audio, frequency, start, stop, rate=RATE):
    """Amplitude of a partial in a stretch given in seconds, by correlation."""
    part = audio[round(start * rate) : round(stop * rate)].astype(np.float64)
    time = np.arange(len(part)) / rate
    window = np.hanning(len(part))
    return 2 * abs(np.dot(part * window, np.exp(-2j * np.pi * frequency * time))) / window.sum()
