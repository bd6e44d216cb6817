"""Training that is killed at random moments, by SIGKILL, ends with the same weights, bit by bit.

    python benchmarks/kills.py [--kills 20] [--models lstm s6] [--block 1024] [--steps 60] [--seed 0]

First every model is trained without a fault. Then it is trained again while its process, and all that it has
started, is killed at moments drawn evenly from the time that a run takes, so many times, and started again
after each; once as `diffsynth train`, once through `dvc repro`. A checkpoint is written after every step, and
every second kill waits for one that is being written. The data is that of the last `dvc repro` here.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from diffsynth.runs.files import sha256

ROOT = Path(__file__).parents[1]
DATA = ("shards", "features", "fit")
CODE = ("diffsynth", "pipeline", "weights", ".dvc", "dvc.yaml", "params.yaml")
PLENTY = 600.0  # s that no run takes


@dataclass(frozen=True)
class Place:
    """A copy of the project, and how one model is trained in it."""

    folder: Path
    model: str
    block: int
    command: list[str]

    @property
    def weights(self) -> Path:
        """What training writes at its end."""
        return self.folder / "models" / str(self.block) / f"{self.model}.safetensors"

    def parts(self) -> list[Path]:
        """Checkpoints that are being written, or were when their process was killed."""
        return list((self.folder / "checkpoints" / str(self.block)).glob(".part-*"))

    def half_written(self) -> int:
        """Checkpoints that a killed process has left in the middle of writing them, which are removed."""
        left = self.parts()
        for file in left:
            file.unlink()
        return len(left)

    def run(self, seconds: float, aimed: bool = False) -> bool:
        """Train, and kill everything after so many seconds; returns whether it had ended before.

        If the kill is aimed, it waits for the next checkpoint that is being written.
        """
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.folder),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/runs.db",
            "DIFFSYNTH_CHECKPOINT_EVERY": "1",
            "DIFFSYNTH_THREADS": "1",
        }
        with (self.folder / "log.txt").open("a") as log:
            child = subprocess.Popen(
                self.command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                code = child.wait(seconds)
            except subprocess.TimeoutExpired:
                while aimed and child.poll() is None and not self.parts():
                    pass
                if child.poll() is not None:
                    return self._ended(child.returncode)
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                return False
        return self._ended(code)

    def _ended(self, code: int) -> bool:
        if code:
            raise SystemExit(f"training failed:\n{(self.folder / 'log.txt').read_text()}")
        return True


def copy(folder: Path, steps: int, data: Path) -> None:
    """The project with its data, and shorter trainings."""
    for name in CODE:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "cache", "tmp")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    for name in DATA:
        shutil.copytree(data / name, folder / "data" / name)
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("  steps: 120\n", f"  steps: {steps}\n"))
    (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")


def killed(place: Place, kills: int, whole: str, seconds: float, chance: random.Random) -> str:
    """Train with so many kills; returns what is reported of it."""
    met, ends, left = 0, 0, kills
    while left:
        if place.run(chance.uniform(0, seconds), aimed=left % 2 == 1):
            ends += 1
            check(place, whole)
        else:
            left -= 1
            met += place.half_written()
    place.run(PLENTY)
    check(place, whole)
    return f"{kills} kills, {met} while a checkpoint was written, {ends + 1} ends, all the same bytes"


def check(place: Place, whole: str) -> None:
    """Compare the weights with those of the run without a fault, and remove them."""
    if sha256(place.weights) != whole:
        raise SystemExit(f"{place.model}: other weights than without a fault, in {place.folder}")
    place.weights.unlink()


def main() -> None:
    """Print a line for every model and way of training."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--models", nargs="+", default=["lstm", "s6"])
    parser.add_argument("--block", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--data", type=Path, default=ROOT / "data", help="Folder of shards, features and fit."
    )
    given = parser.parse_args()
    chance = random.Random(given.seed)
    for model in given.models:
        train = [sys.executable, "-m", "pipeline", "train", "--model", model, "--block", str(given.block)]
        stage = f"train@{model}-{given.block}"
        # Forced, or weights that have been removed would come from DVC's cache.
        repro = [sys.executable, "-m", "dvc", "repro", "--single-item", "--force", stage]
        with tempfile.TemporaryDirectory() as folder:
            copy(Path(folder), given.steps, given.data)
            plain = Place(Path(folder), model, given.block, train)
            begin = time.perf_counter()
            plain.run(PLENTY)
            seconds, whole = time.perf_counter() - begin, sha256(plain.weights)
            plain.weights.unlink()
            print(f"{model}: {given.steps} steps in {seconds:.0f} s without a fault", flush=True)
            print(f"{model}: {killed(plain, given.kills, whole, seconds, chance)}", flush=True)
            through = Place(Path(folder), model, given.block, repro)
            print(f"{stage}: {killed(through, given.kills, whole, seconds + 3, chance)}", flush=True)


if __name__ == "__main__":
    main()
