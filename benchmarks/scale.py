"""Time and peak memory of every stage by hours of data: what grows with the data, and what does not.

    python benchmarks/scale.py [--hours 23 2.3 0.17] [--workers 2] [--steps 100] [--piano FILE] [--json FILE]

The data are generated music through a SoundFont (`dataset.name: rendered`), so many hours in the training
split and a tenth of it in each of the others. Every stage runs as the pipeline runs it; the raw recordings
are removed after `align` and the aligned ones after `fit`, which nothing needs any more. Memory is that of
all processes of a stage together, proportional set size, sampled three times a second.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import psutil
import torch

from diffsynth.training.registry import TASKS
from diffsynth.training.task import Inputs
from diffsynth.training.trainer import Trainer
from pipeline.params import load_params
from pipeline.train_run import voice_config

ROOT = Path(__file__).parents[1]
STAGES = ("download", "align", "shard", "fit", "features", "train")
MADE = {"download": "raw", "align": "aligned", "shard": "shards", "fit": "fit", "features": "features"}
NOT_NEEDED_AFTER = {"align": "raw", "fit": "aligned"}
TRAINED_ON = 0.8  # of rendered data
NEVER = 10**9
DRAWN, STEPPED = 200, 40  # batches drawn, steps taken


@dataclass(frozen=True)
class Cost:
    """What a stage took: seconds, the highest MB of all its processes, and MB that it has written."""

    hours: float
    stage: str
    seconds: float
    peak_mb: float
    written_mb: float


def memory(process: psutil.Process) -> float:
    """MB of a process and of all that it has started."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += getattr(each.memory_full_info(), "pss", 0) or each.memory_info().rss
    return total / 1e6


def measure(stage: str, folder: Path, hours: float, options: list[str]) -> Cost:
    """Run a stage in a folder."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/runs.db",
    }
    begin, peak = time.perf_counter(), 0.0
    command = [sys.executable, "-m", "pipeline", stage, "--params", str(ROOT / "params.yaml"), *options]
    child = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    while child.poll() is None:
        peak = max(peak, memory(psutil.Process(child.pid)))
        time.sleep(0.3)
    if child.returncode:
        raise SystemExit(f"{stage} failed")
    made = MADE.get(stage)
    files = (folder / "data" / made).iterdir() if made else folder.glob("models/*/*")
    written = sum(path.stat().st_size for path in files) / 1e6
    return Cost(hours, stage, time.perf_counter() - begin, peak, written)


def learning(folder: Path) -> tuple[float, float]:
    """Milliseconds that a batch takes to draw, and a step of the LSTM with its batch, on one thread."""
    params, data = load_params(ROOT / "params.yaml"), folder / "data"
    torch.set_num_threads(1)
    inputs = Inputs(data / "shards", data / "features", data / "fit" / "piano.safetensors")
    train = replace(params.train, steps=NEVER, validate_every=NEVER)
    task = TASKS["gains"].read(voice_config(params, "lstm", 512), train, inputs)
    for step in range(DRAWN):  # the first ones check the shards that they open
        task.train.draw(step)
    drawn = mean_ms(partial(task.train.draw, step) for step in range(DRAWN, 2 * DRAWN))
    torch.manual_seed(0)
    trainer = Trainer(task.config.new_denoiser(), task.train, task.validation, train, params.diffusion)
    steps = trainer.steps()
    mean_ms(partial(next, steps) for _ in range(STEPPED))
    return drawn, mean_ms(partial(next, steps) for _ in range(STEPPED))


def mean_ms(calls: Iterable[Callable[[], object]]) -> float:
    """Milliseconds of processor time of a call."""
    times = []
    for call in calls:
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return 1e3 * sum(times) / len(times)


def stages(given: argparse.Namespace, hours: float, folder: Path) -> Iterator[Cost]:
    """Run all stages in a folder."""
    workers = ["--workers", str(given.workers)]
    minutes = str(60 * hours / TRAINED_ON)
    options = {
        "download": ["--name", "rendered", "--minutes", minutes, *workers],
        "fit": [],
        "train": ["--model", "lstm", "--steps", str(given.steps)],
    }
    if given.piano:
        (folder / "data" / "fit").mkdir(parents=True)
        shutil.copy(given.piano, folder / "data" / "fit" / "piano.safetensors")
    for stage in STAGES:
        if not (given.piano and stage == "fit"):
            yield measure(stage, folder, hours, options.get(stage, workers))
        if stage in NOT_NEEDED_AFTER:
            shutil.rmtree(folder / "data" / NOT_NEEDED_AFTER[stage])


def main() -> None:
    """Print a row for each stage and number of hours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours", type=float, nargs="+", default=[23.0, 2.3, 0.17])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100, help="of the training")
    parser.add_argument("--piano", type=Path, help="fitted one, instead of the stage `fit`")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if not all(0 < hours < math.inf for hours in given.hours):
        parser.error("--hours must be above 0")
    if given.piano and not given.piano.is_file():
        parser.error(f"{given.piano} is no file")
    if given.json and not given.json.parent.is_dir():
        parser.error(f"{given.json.parent} is no folder")
    rows = []
    print("| hours | stage | s | peak MB | written MB |\n|---:|---|---:|---:|---:|", flush=True)
    for hours in given.hours:
        with tempfile.TemporaryDirectory() as name:
            for cost in stages(given, hours, Path(name)):
                rows.append(cost)
                numbers = f"{cost.seconds:.0f} | {cost.peak_mb:.0f} | {cost.written_mb:.1f}"
                print(f"| {cost.hours:.2f} | {cost.stage} | {numbers} |", flush=True)
            drawn, stepped = learning(Path(name))
            print(
                f"| {hours:.2f} | a batch is drawn in {drawn:.1f} ms, a step takes {stepped:.0f} ms | | | |"
            )
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
