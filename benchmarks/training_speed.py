"""Audio that is learned from in a second: this trainer beside an earlier one, in turns.

    python benchmarks/training_speed.py [--commit 48f896b] [--data data] [--threads 2] [--turns 5]

Both trees train on the same recordings, each with its own parameters and features (those of the earlier one
are computed first, which takes minutes), loading included. Each turn is a process of its own, one after the
other; the fastest turn counts, because other work on the machine only ever takes time. The ratio of processor
time is beside that of the clock, both for a second of audio. Needs the features of the demo (`dvc repro
features`) and git.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS, BLOCKS = ("lstm", "s6"), (512, 1024, 2048, 4096)
FIRST = 3  # steps that are not timed

# Runs in either tree, and uses what both have.
TURN = """
import json, sys, time
from dataclasses import replace
from itertools import islice
from pathlib import Path
import torch
from diffsynth.training.registry import TASKS
from diffsynth.training.task import Inputs
from diffsynth.training.trainer import Trainer
from pipeline.params import load_params
try:
    from pipeline.train_run import voice_config
except ImportError:
    from pipeline.train_run import _config as voice_config

params_file, data, model, block, threads, first, count = sys.argv[1:]
data, first, count = Path(data), int(first), int(count)
try:
    from diffsynth.training.machine import Machine, prepare_torch
    prepare_torch(torch.device("cpu"))
    machine = {"machine": Machine(threads=int(threads))}
except ImportError:
    machine = {}
    torch.set_num_threads(int(threads))
    torch.use_deterministic_algorithms(True)
params = load_params(Path(params_file))
train = replace(params.train, steps=10**6, validate_every=10**6)
inputs = Inputs(data / "shards", data / "features", data / "fit" / "piano.safetensors")
task = TASKS["gains"].read(voice_config(params, model, int(block)), train, inputs)
torch.manual_seed(0)
network = task.config.new_denoiser()
trainer = Trainer(network, task.train, task.validation, train, params.diffusion, **machine)
steps = trainer.steps()
list(islice(steps, first))
wall, work = [], time.process_time()
for _ in range(count):
    begin = time.perf_counter()
    next(steps)
    wall.append(time.perf_counter() - begin)
wall.sort()
used = time.process_time() - work
hop = getattr(params.features, "hop", 1) * params.audio.frame / params.audio.sample_rate
audio = train.batch_size * (train.sequence - train.warmup) * hop
print(json.dumps({"audio": audio, "wall": wall[len(wall) // 4], "work": used / count}))
"""


def turn(tree: Path, data: Path, options: argparse.Namespace, model: str, block: int) -> dict[str, float]:
    """Seconds of audio in a step; seconds that it takes, of the clock (lower quartile) and the processor."""
    numbers = [model, block, options.threads, FIRST, options.steps]
    command = [sys.executable, "-c", TURN, tree / "params.yaml", data.resolve(), *numbers]
    path = {"PYTHONPATH": str(tree), "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    result = subprocess.run(
        list(map(str, command)), cwd=tree, env=path, check=True, capture_output=True, text=True
    )
    return json.loads(result.stdout.splitlines()[-1])


def earlier_data(tree: Path, data: Path) -> Path:
    """Shards and piano of today with the features that a tree makes of them."""
    made = tree / "data"
    made.mkdir(exist_ok=True)
    for name in ("shards", "fit"):
        (made / name).symlink_to((data / name).resolve())
    path = {"PYTHONPATH": str(tree), "MLFLOW_TRACKING_URI": f"sqlite:///{made}/runs.db"}
    command = [sys.executable, "-m", "pipeline", "features"]
    subprocess.run(command, cwd=tree, env={**os.environ, **path}, check=True, capture_output=True)
    return made


def main() -> None:
    """Print a row for each model and block."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commit", default="48f896b", help="of the earlier trainer")
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--blocks", nargs="+", type=int, default=BLOCKS)
    options = parser.parse_args()
    print("| model | block | then, x real time | now | ratio | of processor time |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        archive = subprocess.run(
            ["git", "archive", options.commit], cwd=ROOT, check=True, capture_output=True
        )
        tree = Path(name)
        subprocess.run(["tar", "-x", "-C", name], input=archive.stdout, check=True)
        trees = (tree, earlier_data(tree, options.data)), (ROOT, options.data)
        for model in options.models:
            for block in options.blocks:
                rows = [
                    [turn(*place, options, model, block) for place in trees] for _ in range(options.turns)
                ]
                wall, work = (
                    [max(pair[i]["audio"] / pair[i][kind] for pair in rows) for i in range(2)]
                    for kind in ("wall", "work")
                )
                speed, ratio = wall, f"{wall[1] / wall[0]:.2f} | {work[1] / work[0]:.2f}"
                print(f"| {model} | {block} | {speed[0]:.0f} | {speed[1]:.0f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
