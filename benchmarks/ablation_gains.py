"""What learned gains add to every piano of the ablation: the same segments and steps for each.

    python benchmarks/ablation.py FOLDER_OF_MIDI
    python benchmarks/ablation_gains.py FOLDER_OF_MIDI [--rows 0 3 8] [--minutes 24] [--steps 600]

Takes the pianos that the first command keeps, trains an LSTM at 512 samples on each, and scores both as the
first command does. Segments are spread evenly over the training split.
"""

import argparse
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # results and cores: see diffsynth.runs.parallel

import torch
from ablation import ROWS, Job, compare

from diffsynth.piano.piano import load_piano
from diffsynth.representation.feature_shards import FeatureFolder, write_features
from diffsynth.representation.targets import Targets
from diffsynth.runs.files import sha256, write_json
from diffsynth.shards.folders import INDEX, read_index
from diffsynth.shards.pieces import Piece
from diffsynth.shards.segments import key_of, read_shards, segment_members
from diffsynth.shards.tars import write_tar
from diffsynth.synthesis.gain_voice import GainConfig, GainVoice
from diffsynth.synthesis.weights import save_voice
from diffsynth.training.gain_batches import GainExamples
from diffsynth.training.trainer import Trainer
from pipeline.params import Params, load_params

MODEL, BLOCK = "lstm", 512
VALIDATION = 0.1  # seconds of validation for each of training


def spread(shards: Path, out: Path, shares: dict[str, float]) -> None:
    """Write so many seconds of every split, evenly spread, as shards to `out`."""
    index = read_index(shards)
    out.mkdir()
    splits, rate = {}, index["sample_rate"]
    for split, seconds in shares.items():
        count = index["splits"][split]["samples"]
        wanted = min(count, max(1, round(seconds / index["segment"])))
        chosen = {i * count // wanted for i in range(wanted)}
        segments = [s for i, s in enumerate(read_shards(shards, split)) if i in chosen]
        path = out / f"{split}-000000.tar"
        samples = write_tar(path, ((key_of(s.name, s.index), segment_members(s, rate)) for s in segments))
        pieces = [asdict(Piece(s.name, s.index, 1, round(s.seconds * rate))) for s in segments]
        entry = {"name": path.name, "sha256": sha256(path), "samples": samples, "pieces": pieces}
        splits[split] = {"samples": samples, "shards": [entry]}
    write_json(out / INDEX, {**index, "splits": splits})


def train(piano_file: Path, shards: Path, params: Params, steps: int, workers: int) -> GainVoice:
    """A voice on a piano, after so many steps."""
    piano, features = load_piano(piano_file), shards.with_name("features")
    write_features(shards, piano_file, features, params.audio, params.features, workers)
    data, validation = (FeatureFolder(features, split) for split in ("train", "validation"))
    config = GainConfig(MODEL, BLOCK, params.audio, params.lstm, params.features)
    schedule = replace(params.train, steps=steps, validate_every=steps)
    normaliser, targets = data.moments().normaliser(), Targets(params.features, params.audio)

    def examples(part: FeatureFolder) -> GainExamples:
        return GainExamples(part, normaliser, targets, config.hops, schedule)

    torch.manual_seed(schedule.seed)
    diffusion = replace(params.diffusion, objective="regression")
    trainer = Trainer(config.new_denoiser(), examples(data), examples(validation), schedule, diffusion)
    for _ in trainer.steps():
        pass
    trainer.denoiser.load_state_dict(trainer.best)
    return GainVoice(config, trainer.denoiser, piano, normaliser)


def variants(given: argparse.Namespace, params: Params) -> Iterator[Job]:
    """All jobs but for the files that they play."""
    seconds = 60 * given.minutes
    shares = {"train": seconds, "validation": VALIDATION * seconds}
    chosen = given.pianos / "shards"
    shutil.rmtree(chosen, ignore_errors=True)
    spread(given.shards, chosen, shares)
    for row in given.rows:
        label, piano = list(ROWS)[row], given.pianos / f"{row}.safetensors"
        yield Job(Path(), label, piano=piano)
        path = given.pianos / f"{row}-{MODEL}.safetensors"
        save_voice(path, train(piano, chosen, params, given.steps, given.workers), {})
        yield Job(Path(), f"{label}, and gains", voice=path)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="of MIDI files")
    parser.add_argument("--shards", type=Path, default=Path("data/shards"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--pianos", type=Path, default=Path("results/ablation"), help="of the first command")
    parser.add_argument("--rows", type=int, nargs="+", default=list(range(len(ROWS))))
    parser.add_argument("--minutes", type=float, default=24.0, help="of recordings")
    parser.add_argument("--steps", type=int, default=600, help="of the optimiser")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    params = load_params(given.params)
    torch.set_num_threads(given.workers)
    compare(list(variants(given, params)), given.folder, params.audio, given.workers)


if __name__ == "__main__":
    main()
