#!/usr/bin/env python3
"""Reads MIDI files by the thousand: generated ones against a slow reader, and damaged ones against the clock.

Example: python benchmarks/midi_files.py data/demo --generated 10000 --damaged 1000
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.random_midi import random_file
from support.slow_midi import differences

from diffsynth.errors import UserError
from diffsynth.midi.files import read_midi
from pipeline.app import run

PATIENCE = 5.0  # s to read one damaged file
SHORT, DAY = 120.0, 90_000.0  # s of performances that are rendered, and from which on they are refused


def damaged(rng: random.Random, whole: bytes) -> bytes:
    """A file with bytes changed, cut off, or there twice."""
    data, kind = bytearray(whole), rng.choice(["flipped", "cut", "doubled"])
    if kind == "flipped":
        for _ in range(rng.choice([1, 1, 4, 64])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[rng.randrange(len(data)) :]
    else:
        first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        data[last:last] = data[first:last]
    return bytes(data)


def check_generated(count: int, path: Path) -> int:
    """Read generated files twice; returns how many differ."""
    wrong = 0
    for seed in range(count):
        random_file(random.Random(seed)).save(path)
        found = differences(path)
        wrong += bool(found)
        if found:
            print(f"seed {seed}: {found[0]}")
    return wrong


def check_damaged(count: int, files: list[Path], path: Path) -> tuple[int, int, float]:
    """Read damaged copies; returns how many were played and how many refused, and the longest time in s."""
    played, refused, longest = 0, 0, 0.0
    for seed in range(count):
        rng = random.Random(seed)
        path.write_bytes(damaged(rng, rng.choice(files).read_bytes()))
        begin, lines = time.perf_counter(), []
        try:
            read_midi(path, say=lines.append)
            played += 1
        except UserError as error:
            lines.append(str(error))
            refused += 1
        longest = max(longest, time.perf_counter() - begin)
        if len(lines) > 1 or any("\n" in line for line in lines):
            raise AssertionError(f"seed {seed}: {lines}")
    return played, refused, longest


def check_rendered(count: int, files: list[Path], folder: Path, weights: list[str]) -> tuple[Counter, float]:
    """Give damaged copies to the command; returns how often it ended how, and the longest time in s.

    What lasts longer than `SHORT` is counted and not rendered: players would wait as long.
    """
    ends: Counter[str] = Counter()
    longest, path, target = 0.0, folder / "file.mid", folder / "file.wav"
    for seed in range(count):
        rng = random.Random(seed)
        path.write_bytes(damaged(rng, rng.choice(files).read_bytes()))
        try:
            last = float(read_midi(path)["time"][-1])
        except UserError:
            last = 0.0
        if SHORT < last < DAY:
            ends["too long to wait for"] += 1
            continue
        begin, lines = time.perf_counter(), StringIO()
        with redirect_stderr(lines), redirect_stdout(StringIO()):
            code = run(["render", str(path), str(target), *weights])
        longest = max(longest, time.perf_counter() - begin)
        said = lines.getvalue().splitlines()
        if code not in (0, 2) or len(said) > 1 or (code == 2 and not said):
            raise AssertionError(f"seed {seed}: {code}, {said}")
        ends[f"exit code {code}"] += 1
    return ends, longest


def main() -> int:
    """Run all checks; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", default=[ROOT / "data" / "demo"])
    parser.add_argument("--generated", type=int, default=10_000)
    parser.add_argument("--damaged", type=int, default=1_000)
    parser.add_argument("--rendered", type=int, default=0, help="damaged files for `diffsynth render`")
    parser.add_argument("--weights", help="voice that renders them")
    given = parser.parse_args()
    files = sorted(file for folder in given.folders for file in folder.rglob("*.mid"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.mid"
        wrong = check_generated(given.generated, path)
        print(f"{given.generated} generated files, {wrong} differ")
        played, refused, longest = check_damaged(given.damaged, files, path)
        print(f"{given.damaged} damaged files: {played} played, {refused} refused, at most {longest:.2f} s")
        if given.rendered:
            weights = ["--weights", given.weights] if given.weights else []
            ends, slowest = check_rendered(given.rendered, files, Path(folder), weights)
            told = ", ".join(f"{n} {end}" for end, n in sorted(ends.items()))
            print(f"{given.rendered} damaged files rendered: {told}, at most {slowest:.1f} s")
    return int(wrong > 0 or longest > PATIENCE)


if __name__ == "__main__":
    sys.exit(main())
