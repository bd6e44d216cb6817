"""How well a file of one note is recognised, and one of a wrong key rejected.

    python benchmarks/single_notes.py

cuts every note out of the demo's recording of all 88 keys at three dynamics, while the one before it still
rings, and aligns it with a MIDI file of this key and of wrong ones. Takes a minute.
"""

import argparse
from pathlib import Path

import numpy as np

from diffsynth.alignment.line_fit import Alignment, measure
from diffsynth.audio.files import Audio, read_audio
from diffsynth.midi.events import HIGHEST_KEY, LOWEST_KEY, NOTE_OFF, NOTE_ON, make_events
from diffsynth.midi.files import read_midi
from pipeline.params import load_params

DEMO = Path(__file__).resolve().parents[1] / "data" / "demo"
BEFORE, LENGTH = 0.3, 1.0  # s of a recording before its note, and in all
AT = 2.0  # s, the note in its MIDI file
EXACT = 0.003  # s
WRONG = (1, -1, 7, -12, 12, 24)  # semitones


def main() -> None:
    """Measure, and print the table."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    config = load_params().align
    audio, rate = read_audio(DEMO / "keys.flac")
    events = read_midi(DEMO / "keys.mid")
    notes = [(int(n["number"]), int(n["value"]), float(n["time"])) for n in events[events["kind"] == NOTE_ON]]
    recordings = [(key, velocity, cut(audio, rate, time)) for key, velocity, time in notes]

    def found(key: int, velocity: int, recording: Audio) -> Alignment:
        note = make_events([(AT, NOTE_ON, key, velocity), (AT + 0.5, NOTE_OFF, key, 0)])
        return measure(note, recording, rate, config)

    right = [(key, found(key, velocity, recording)) for key, velocity, recording in recordings]
    accepted = [result for _, result in right if result.status == "ok"]
    exact = sum(abs(result.offset - (BEFORE - AT)) < EXACT for result in accepted)
    print(
        f"right key: {len(accepted)} of {len(right)} accepted, {exact} of them within {1000 * EXACT:g} ms; "
        f"rejected: keys {sorted(key for key, result in right if result.status != 'ok')}"
    )
    for semitones in WRONG:
        results = [
            found(key + semitones, velocity, recording)
            for key, velocity, recording in recordings[::3]
            if LOWEST_KEY <= key + semitones <= HIGHEST_KEY
        ]
        accepted = [result for result in results if result.status == "ok"]
        print(f"{semitones:+d} semitones: {len(accepted)} of {len(results)} accepted", flush=True)


def cut(audio: Audio, rate: int, time: float) -> Audio:
    """The recording of the note at `time` in s."""
    first = round((time - BEFORE) * rate)
    part = audio[max(first, 0) : first + round(LENGTH * rate)]
    return np.pad(part, (max(-first, 0), 0))


if __name__ == "__main__":
    main()
