"""Programs that a benchmark starts: small Python scripts that write a real sound file of a MIDI file."""

import sys

# The recording of the same name, in stereo at another rate, so many ms late.
LATE = """
import sys
from pathlib import Path
import numpy as np, soundfile, soxr
folder, late, midi, wav = sys.argv[1:]
samples, rate = soundfile.read(next(Path(folder).glob(Path(midi).stem + ".flac")))
samples = soxr.resample(samples, rate, 44100)
samples = np.concatenate([np.zeros(round(44.1 * float(late))), 0.5 * samples])
soundfile.write(wav, np.stack([samples, samples], axis=1), 44100)
"""
# A tone for each key that is struck, and a line in a log beside the script for each performance.
TONES = """
import sys
from pathlib import Path
import mido, numpy as np, soundfile
midi, wav = sys.argv[1:]
with open(Path(__file__).with_suffix(".log"), "a") as file:
    file.write(Path(midi).stem + "\\n")
now, signal, age = 0.0, np.zeros(24000 * 20), np.arange(12000) / 24000
for message in mido.MidiFile(midi):
    now += message.time
    if message.type == "note_on" and message.velocity:
        tone = 0.1 * np.exp(-6 * age) * np.sin(2 * np.pi * 440 * 2 ** ((message.note - 69) / 12) * age)
        signal[int(24000 * now) :][:12000] += tone[: len(signal) - int(24000 * now)]
soundfile.write(wav, signal, 24000)
"""


def program(folder, name, code, *arguments):
    """The option `--system` of a script, with arguments before those of the benchmark."""
    script = folder / f"{name}.py"
    script.write_text(code)
    words = " ".join(f"'{word}'" for word in (sys.executable, script, *arguments))
    return f"--system={name}={words} {{midi}} {{wav}}"
