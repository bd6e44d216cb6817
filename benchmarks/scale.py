"""Time and peak memory of every stage by hours of data: what grows with the data, and what does not.

    python benchmarks/scale.py [--hours 2 0.2] [--workers 2] [--steps 100] [--piano FILE] [--json FILE]

The demo's performances are taken again and again, each time under another name; the work is the same as for
other music, and the bytes are too. Every stage runs as the pipeline runs it. Memory is that of all its
processes together, proportional set size, sampled three times a second.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
import torch

from diffsynth.datasets.manifest import read_manifest, write_manifest
from diffsynth.representation.feature_shards import FeatureFolder
from diffsynth.training.batches import GainExamples
from pipeline.params import load_params

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "data" / "demo"
STAGES = ("align", "shard", "fit", "features", "train")
DRAWN = 200  # batches


@dataclass(frozen=True)
class Cost:
    """What a stage took: seconds, the highest MB of all its processes, and MB that it has written."""

    hours: float
    stage: str
    seconds: float
    peak_mb: float
    written_mb: float


def repeated(folder: Path, hours: float) -> float:
    """Write raw data of at least so many hours to `folder`; returns the hours."""
    demo = read_manifest(DEMO)
    length = sum(p.duration for p in demo.performances)
    copies = max(1, round(3600 * hours / length))
    folder.mkdir(parents=True)
    for file in {name for p in demo.performances for name in (p.audio, p.midi)}:
        (folder / file).symlink_to(DEMO / file)
    again = [replace(p, name=f"{p.name}-{i:04d}") for p in demo.performances for i in range(copies)]
    write_manifest(folder, replace(demo, performances=sorted(again, key=lambda p: p.name)))
    return copies * length / 3600


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
    made = {"align": "aligned", "shard": "shards", "fit": "fit", "features": "features"}.get(stage)
    files = (folder / "data" / made).iterdir() if made else folder.glob("models/*/*")
    written = sum(path.stat().st_size for path in files) / 1e6
    return Cost(hours, stage, time.perf_counter() - begin, peak, written)


def drawing(folder: Path) -> float:
    """Milliseconds that a batch takes to draw, the first ones and what they check left out."""
    params = load_params(ROOT / "params.yaml")
    torch.set_num_threads(1)
    data = FeatureFolder(folder / "data" / "features", "train")
    examples = GainExamples(data, data.moments().normaliser(), 512 // params.audio.frame, params.train)
    for step in range(DRAWN):
        examples.draw(step)
    begin = time.perf_counter()
    for step in range(DRAWN, 2 * DRAWN):
        examples.draw(step)
    return 1e3 * (time.perf_counter() - begin) / DRAWN


def main() -> None:
    """Print a row for each stage and number of hours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours", type=float, nargs="+", default=[2.0, 0.2])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100, help="of the training")
    parser.add_argument("--piano", type=Path, help="fitted one, instead of the stage `fit`")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    workers = ["--workers", str(given.workers)]
    train = ["--model", "lstm", "--steps", str(given.steps)]
    rows = []
    print("| hours | stage | s | peak MB | written MB |\n|---:|---|---:|---:|---:|")
    for wanted in given.hours:
        with tempfile.TemporaryDirectory() as name:
            hours = repeated(Path(name) / "data" / "raw", wanted)
            if given.piano:
                (Path(name) / "data" / "fit").mkdir()
                shutil.copy(given.piano, Path(name) / "data" / "fit" / "piano.safetensors")
            for stage in [stage for stage in STAGES if not (given.piano and stage == "fit")]:
                options = train if stage == "train" else [] if stage == "fit" else workers
                rows.append(cost := measure(stage, Path(name), hours, options))
                numbers = f"{cost.seconds:.0f} | {cost.peak_mb:.0f} | {cost.written_mb:.1f}"
                print(f"| {cost.hours:.2f} | {cost.stage} | {numbers} |", flush=True)
            print(f"| {hours:.2f} | drawing a batch: {drawing(Path(name)):.1f} ms | | | |", flush=True)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
