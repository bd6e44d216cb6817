"""A piano fitted to recordings of a real one, and voices that learn the rest, for pieces that are held back.

    python benchmarks/real_piano.py FOLDER OUT --test NAME NAME ... [--models lstm,s6 --blocks 512,4096]
        [--steps 600] [--rate 16000] [--minutes 60] [--share 1]

FOLDER holds recordings and their MIDI. The pieces named are held back; a piano is fitted to the others (to
their first part, if `--share` is less than 1) and plays the MIDI of those held back, as it is, with all gains
at 1: OUT/NAME.wav, and the piano, OUT/piano.safetensors. This is the baseline for what gains bring.

With `--models`, networks learn gains from the same pieces by the commands of the pipeline, in OUT/pipeline
(align, shard, features, train): OUT/MODEL-BLOCK/NAME.wav is what voices make of the pieces held back. The
pieces to train on are aligned, those held back are not. Parameters are those of `params.yaml` but for
`changes`. A training that was interrupted goes on.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # results and cores: see diffsynth.runs.parallel

import numpy as np
import yaml

from diffsynth.alignment.performances import align_all
from diffsynth.audio.files import read_audio, write_audio
from diffsynth.audio.format import AudioFormat
from diffsynth.datasets.folder import Pair, copy_pairs, find_pairs
from diffsynth.datasets.manifest import Manifest, write_manifest
from diffsynth.errors import UserError
from diffsynth.fitting.config import Fit
from diffsynth.fitting.excerpts import read_takes
from diffsynth.fitting.fit import fit_piano
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import to_samples
from diffsynth.midi.files import read_midi, write_midi
from diffsynth.piano.piano import Piano, save_piano
from diffsynth.piano.playing import play_whole
from pipeline.params import load_params
from pipeline.stage import numbers

FRAME = 128
TAIL = 5.0  # s after the last event
VALIDATION = 0.1  # of the pieces
PARAMS = Path(__file__).parents[1] / "params.yaml"


def first_parts(pairs: list[Pair], folder: Path, share: float) -> list[Pair]:
    """The beginnings of pieces, as files of their own; the pieces themselves if the share is 1."""
    if share >= 1:
        return pairs
    for pair in pairs:
        audio, rate = read_audio(pair.audio)
        end, events = int(share * len(audio)), read_midi(pair.midi)
        write_audio(folder / f"{pair.title}.flac", audio[:end], rate)
        write_midi(folder / f"{pair.title}.mid", events[events["time"] < end / rate])
    return find_pairs(folder)[0]


def takes_of(pairs: list[Pair], rate: int, minutes: float) -> list[Take]:
    """Aligned performances of some pieces."""
    with tempfile.TemporaryDirectory() as place:
        raw, aligned = Path(place) / "raw", Path(place) / "aligned"
        raw.mkdir()
        performances = [replace(p, split="train") for p in copy_pairs(pairs, raw, 0.0, 0.0, 0)]
        write_manifest(raw, Manifest("folder", performances, []))
        align_all(raw, aligned, AudioFormat(rate, FRAME), load_params(PARAMS).align, workers=2)
        return read_takes(aligned, minutes)


def play(piano: Piano, midi: Path, out: Path, rate: int) -> None:
    """Write what the piano makes of a MIDI file."""
    events = read_midi(midi)
    length = int((float(events["time"][-1]) + TAIL) * rate)
    audio = play_whole(piano, to_samples(events, rate), rate, FRAME, length)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_audio(out, 0.9 * audio / max(np.abs(audio).max(), 1e-9), rate)


def changes(rate: int, steps: int) -> dict[str, Any]:
    """Parameters that differ from `params.yaml`, by dotted name."""
    highest = 0.475 * rate
    return {
        "dataset.name": "folder",
        "audio.sample_rate": rate,
        "fit.max_frequency": highest,
        "features.highest": highest,
        "train.steps": steps,
        "train.validate_every": max(steps // 6, 1),
    }


def prepare(work: Path, pairs: list[Pair], piano: Piano, changed: dict[str, Any]) -> None:
    """Everything that comes before `train`, in a folder like that of the project."""
    tree = yaml.safe_load(PARAMS.read_text())
    for name, value in changed.items():
        section, key = name.split(".")
        tree[section][key] = value
    raw = work / "data" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    (work / "params.yaml").write_text(yaml.safe_dump(tree))
    performances = [
        replace(each, split="train" if each.split == "test" else each.split)
        for each in copy_pairs(pairs, raw, VALIDATION, 0.0, 0)
    ]
    write_manifest(raw, Manifest("folder", performances, []))
    (work / "data" / "fit").mkdir(exist_ok=True)
    save_piano(work / "data" / "fit" / "piano.safetensors", piano)
    for command in ("align", "shard", "features"):
        diffsynth(work, command)


def diffsynth(work: Path, *arguments: object) -> None:
    """A command of the pipeline in a folder; ends the program where it fails."""
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    path = os.pathsep.join([str(PARAMS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=work, env={**os.environ, "PYTHONPATH": path}, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def fit_and_play(
    train: list[Pair], held_back: list[Pair], out: Path, config: Fit, rate: int, minutes: float
) -> Piano:
    """The piano of some pieces, which plays others; both are written."""
    takes = takes_of(train, rate, minutes)
    piano = fit_piano(takes, config)
    out.mkdir(parents=True, exist_ok=True)
    save_piano(out / "piano.safetensors", piano)
    seconds = sum(len(take.audio) for take in takes) / rate
    kind = "sampled voices" if piano.sampled else "strings"
    print(f"fitted to {seconds / 60:.1f} min: {len(piano.key)} modes, {kind}", flush=True)
    for pair in held_back:
        wav = out / f"{pair.title}.wav"
        play(piano, pair.midi, wav, rate)
        print(wav, flush=True)
    return piano


def learn_and_play(out: Path, model: str, block: int, held_back: list[Pair]) -> None:
    """Train a voice on what was prepared, and let it play the pieces held back."""
    work = out / "pipeline"
    diffsynth(work, "train", "--model", model, "--block", block)
    weights = work / "models" / str(block) / f"{model}.safetensors"
    for pair in held_back:
        wav = out / f"{model}-{block}" / f"{pair.title}.wav"
        diffsynth(work, "render", pair.midi.resolve(), wav, "--weights", weights)


def main() -> None:
    """Fit, learn, and play."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--models", default="", help="lstm,s6; none: the piano alone")
    parser.add_argument("--blocks", default="512")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rate", type=int, default=16000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=1.0)
    args = parser.parse_args()
    out, changed = args.out.resolve(), changes(args.rate, args.steps)
    try:
        if not 0 < args.share <= 1:
            raise UserError(f"--share must be above 0 and at most 1, not {args.share}")
        params = load_params(PARAMS, changed)
        names = list(filter(None, args.models.split(",")))
        voices = [params.variant(*voice) for voice in product(names, numbers("blocks", args.blocks))]
        pairs, _ = find_pairs(args.folder)
        held_back = [pair for pair in pairs if pair.title in args.test]
        if missing := sorted(set(args.test) - {pair.title for pair in held_back}):
            raise UserError(f"not in {args.folder}: {', '.join(missing)}")
        with tempfile.TemporaryDirectory() as place:
            others = [pair for pair in pairs if pair.title not in args.test]
            train = first_parts(others, Path(place), args.share)
            piano = fit_and_play(train, held_back, out, params.fit, args.rate, args.minutes)
            if voices:
                prepare(out / "pipeline", train, piano, changed)
    except UserError as error:
        parser.error(str(error))
    for model, block in voices:
        learn_and_play(out, model, block, held_back)


if __name__ == "__main__":
    main()
