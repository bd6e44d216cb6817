"""A piano fitted to recordings of a real one, played on its own, to be measured against recordings held back.

    python benchmarks/real_piano.py FOLDER OUT --test NAME NAME ... [--rate 16000] [--minutes 60] [--share 1]

FOLDER holds recordings and their MIDI. The pieces named are held back; a piano is fitted to the others (to
their first part, if `--share` is less than 1) and plays the MIDI of those held back, as it is, with all gains
at 1: OUT/NAME.wav, and the piano, OUT/piano.safetensors. The pieces to train on are aligned, those held back
are not. Nothing is learned by a network, so this is the baseline for what gains bring.
"""

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # results and cores: see diffsynth.runs.parallel

import numpy as np

from diffsynth.alignment.performances import align_all
from diffsynth.audio.files import write_audio
from diffsynth.audio.format import AudioFormat
from diffsynth.datasets.folder import Pair, copy_pairs, find_pairs
from diffsynth.datasets.manifest import Manifest, write_manifest
from diffsynth.errors import UserError
from diffsynth.fitting.excerpts import read_takes
from diffsynth.fitting.fit import fit_piano
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import to_samples
from diffsynth.midi.files import read_midi
from diffsynth.piano.modal_bank import play_whole
from diffsynth.piano.piano import Piano, save_piano
from pipeline.params import load_params

FRAME = 128
TAIL = 5.0  # s after the last event
PARAMS = Path(__file__).parents[1] / "params.yaml"


def takes_of(pairs: list[Pair], rate: int, minutes: float, share: float) -> list[Take]:
    """Aligned performances of some pieces."""
    with tempfile.TemporaryDirectory() as place:
        raw, aligned = Path(place) / "raw", Path(place) / "aligned"
        raw.mkdir()
        performances = [replace(p, split="train") for p in copy_pairs(pairs, raw, 0.0, 0.0, 0)]
        write_manifest(raw, Manifest("folder", performances, []))
        align_all(raw, aligned, AudioFormat(rate, FRAME), load_params(PARAMS).align, workers=2)
        takes = read_takes(aligned, minutes)
    return [first_part(take, share) for take in takes]


def first_part(take: Take, share: float) -> Take:
    """The beginning of a take."""
    audio = take.audio[: int(share * len(take.audio))]
    return Take(audio, take.events[take.events["position"] < len(audio)], take.rate)


def play(piano: Piano, midi: Path, out: Path, rate: int) -> None:
    """Write what the piano makes of a MIDI file."""
    events = read_midi(midi)
    length = int((float(events["time"][-1]) + TAIL) * rate)
    audio = play_whole(piano, to_samples(events, rate), rate, FRAME, length)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_audio(out, 0.9 * audio / max(np.abs(audio).max(), 1e-9), rate)


def main() -> None:
    """Fit, and play."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--rate", type=int, default=16000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=1.0)
    args = parser.parse_args()
    try:
        pairs, _ = find_pairs(args.folder)
        held_back = {pair.title: pair for pair in pairs if pair.title in args.test}
        if missing := sorted(set(args.test) - set(held_back)):
            raise UserError(f"not in {args.folder}: {', '.join(missing)}")
        train = [pair for pair in pairs if pair.title not in args.test]
        takes = takes_of(train, args.rate, args.minutes, args.share)
        config = replace(load_params(PARAMS).fit, max_frequency=0.475 * args.rate)
        piano = fit_piano(takes, config)
    except UserError as error:
        parser.error(str(error))
    args.out.mkdir(parents=True, exist_ok=True)
    save_piano(args.out / "piano.safetensors", piano)
    seconds = sum(len(take.audio) for take in takes) / args.rate
    kind = "sampled voices" if piano.sampled else "strings"
    print(f"fitted to {seconds / 60:.1f} min: {len(piano.key)} modes, {kind}", flush=True)
    for name, pair in held_back.items():
        play(piano, pair.midi, args.out / f"{name}.wav", args.rate)
        print(args.out / f"{name}.wav")


if __name__ == "__main__":
    main()
