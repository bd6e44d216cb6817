"""What `diffsynth download --name maestro` costs on the wire, and what ten kills cost.

    python benchmarks/download.py TABLE.csv [--years 2018] [--megabytes 300] [--kills 10]

makes an archive in the shape of MAESTRO from the rows of a table (real names, recordings of generated
sound whose lengths are in proportion to the real ones), with several years beside the wanted ones,
serves it on the loopback interface, and prints one table: the bytes that crossed the wire against the
compressed size of the wanted years, without interruption and with SIGKILLs at random moments (from a
seed), and whether every file is right in the end. Nothing stays behind. Takes a minute or two.
"""

import argparse
import csv
import io
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.range_server import serving, zip_bytes

FOLDER = "maestro-v3.0.0"
RATE = 30e6  # bytes/s of every connection
BOUNDS = {"more than wanted": 2.0, "sent twice": 5.0}  # %


def main() -> int:
    """Run it; the exit code says whether the bounds hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path, help="CSV file with rows of MAESTRO's table")
    parser.add_argument("--years", nargs="+", default=["2018"], help="years to download")
    parser.add_argument("--others", type=int, default=20, help="performances of every other year")
    parser.add_argument("--megabytes", type=float, default=300, help="of the wanted recordings")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"making the archive of {options.table.name}", file=sys.stderr)
    text, contents = make_contents(options)
    archive = zip_bytes({name: (content, how(name)) for name, content in contents.items()})
    kept = {f"{FOLDER}/{year}/" for year in options.years}
    wanted = {n: c for n, c in contents.items() if any(n.startswith(k) for k in kept) or n.count("/") == 1}
    with zipfile.ZipFile(io.BytesIO(archive)) as listed:
        compressed = sum(listed.getinfo(name).compress_size for name in wanted)
    size = sum(map(len, contents.values()))
    print(
        f"archive: {len(archive) / 1e6:.0f} MB, {len(contents)} files of {size / 1e6:.0f} MB; "
        f"wanted: {len(wanted)} files, {compressed / 1e6:.1f} MB compressed"
    )
    print("| run | kills | s | body MB | headers MB | requests | more than wanted | all files right |")
    print("|---|---:|---:|---:|---:|---:|---:|---|")
    with serving({f"{FOLDER}.csv": text, f"{FOLDER}.zip": archive}) as server:
        server.rate = RATE
        plain = measure(server, options, wanted, compressed, 0)
        killed = measure(server, options, wanted, compressed, options.kills)
    twice = 100 * (killed - plain) / compressed
    more = 100 * (plain - compressed) / compressed
    print(f"sent twice because of the kills: {twice:.2f} % (bound {BOUNDS['sent twice']:g} %)")
    print(f"more than wanted without kills: {more:.2f} % (bound {BOUNDS['more than wanted']:g} %)")
    return 0 if twice <= BOUNDS["sent twice"] and more <= BOUNDS["more than wanted"] else 1


def how(name: str) -> int:
    """MIDI stored and the rest deflated, so that both are there."""
    return zipfile.ZIP_STORED if name.endswith(".midi") else zipfile.ZIP_DEFLATED


def make_contents(options: argparse.Namespace) -> tuple[bytes, dict[str, bytes]]:
    """The table and the files: all rows of the wanted years, some of every other."""
    lines = options.table.read_text(encoding="utf8").splitlines(keepends=True)
    rows = list(csv.DictReader(lines))
    count: dict[str, int] = defaultdict(int)
    chosen = []
    for row, line in zip(rows, lines[1:], strict=True):
        count[row["year"]] += 1
        if row["year"] in options.years or count[row["year"]] <= options.others:
            chosen.append((row, line))
    text = "".join([lines[0], *(line for _, line in chosen)]).encode()
    seconds = sum(float(row["duration"]) for row, _ in chosen if row["year"] in options.years)
    scale = options.megabytes * 1e6 / (seconds * 4 * 48000)
    contents = {f"{FOLDER}/LICENSE": b"CC BY-NC-SA 4.0\n", f"{FOLDER}/{FOLDER}.csv": text}
    random_numbers = np.random.default_rng(options.seed)
    for row, _ in chosen:
        short = 1.0 if row["year"] in options.years else 0.3
        contents[f"{FOLDER}/{row['midi_filename']}"] = random_numbers.bytes(
            round(40 * float(row["duration"]))
        )
        contents[f"{FOLDER}/{row['audio_filename']}"] = recording(
            short * scale * float(row["duration"]), random_numbers
        )
    return text, contents


def recording(seconds: float, random_numbers: np.random.Generator) -> bytes:
    """Stereo 16-bit noise that fades."""
    count = round(seconds * 48000)
    noise = random_numbers.standard_normal((count, 2), np.float32) * np.linspace(0.1, 0, count)[:, None]
    file = io.BytesIO()
    soundfile.write(file, noise, 48000, "PCM_16", format="WAV")
    return file.getvalue()


def measure(server, options, wanted, compressed: int, kills: int) -> int:
    """Download into a fresh folder with so many kills, print a row; bytes of all answers' bodies."""
    server.sent.clear()
    server.requests.clear()
    server.overhead = 0
    moments = random.Random(options.seed)
    # Later kills come at later stages of the download: this many bytes sent, and a moment more.
    limits = sorted(moments.uniform(0, compressed) for _ in range(kills))
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "raw"
        for limit in [*limits, None]:
            run(server, options, Path(folder), limit, moments.uniform(0, 0.05))
        right = all((out / name).read_bytes() == content for name, content in wanted.items())
        files = sum(path.is_file() for path in out.rglob("*"))
        right &= files == len(wanted) + 1 and not list(Path(folder).glob(".download*"))
    total = sum(server.sent.values())
    print(
        f"| {'killed' if kills else 'undisturbed'} | {kills} | {time.monotonic() - begin:.0f} "
        f"| {total / 1e6:.2f} | {server.overhead / 1e6:.2f} | {len(server.requests)} "
        f"| {100 * (total - compressed) / compressed:.2f} % | {'yes' if right else 'NO'} |"
    )
    if not right:
        raise SystemExit("files are missing or wrong")
    return total


def run(server, options, folder: Path, limit: float | None, later: float) -> None:
    """One process, killed soon after `limit` bytes have been sent in all; None lets it end."""
    years = [word for year in options.years for word in ("--year", year)]
    where = ["--params", str(ROOT / "params.yaml"), "--url", server.url, "--out", "raw"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/m.db"}
    client = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "download", "--name", "maestro", *years, *where],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if limit is not None:
        while client.poll() is None and sum(server.sent.values()) < limit:
            time.sleep(0.001)
        time.sleep(later)
        client.kill()
    _, error = client.communicate(timeout=600)
    if limit is None and client.returncode:
        raise SystemExit(error)


if __name__ == "__main__":
    sys.exit(main())
