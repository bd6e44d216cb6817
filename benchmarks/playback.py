"""What is found in recordings of a piano that played MIDI back, and in the beginning of each alone.

    python benchmarks/playback.py FOLDER [--excerpt 10]

aligns every pair NAME.mid and NAME.flac below the folder, and the first seconds of each recording with the
whole MIDI file. Prints offset, drift as found and as applied, their error, and the share of notes heard.
"""

import argparse
from pathlib import Path

from diffsynth.alignment.line_fit import measure
from diffsynth.audio.files import read_audio
from diffsynth.midi.files import read_midi
from pipeline.params import load_params


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--excerpt", type=float, default=10.0, help="seconds of the excerpt")
    options = parser.parse_args()
    config = load_params().align
    print("| recording | s | offset (ms) | drift found (ppm) | error | applied | heard | of an excerpt: |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for path in sorted(options.folder.rglob("*.flac")):
        events, (audio, rate) = read_midi(path.with_suffix(".mid")), read_audio(path)
        found = measure(events, audio, rate, config)
        part = measure(events, audio[: round(options.excerpt * rate)], rate, config)
        beginning = (
            f"{1000 * part.offset:.1f} ms, {part.matched:.0%} heard" if not part.reason else part.reason
        )
        print(
            f"| {path.parent.name}/{path.stem} | {len(audio) / rate:.0f} | {1000 * found.offset:.1f} | "
            f"{found.drift_found:.1f} | {found.drift_error:.1f} | {found.drift:.1f} | {found.matched:.0%} | "
            f"{beginning} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
