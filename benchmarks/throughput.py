"""Speed and memory of `align` and `shard` over long recordings.

    python benchmarks/throughput.py MIDI_FILE [--minutes 28] [--copies 4] [--workers 2] [--soundfont PATH]

plays a MIDI file (repeated or cut to the minutes asked for) through FluidSynth, writes it as so many
recordings in 48 kHz stereo 16 bit, runs both commands on them as anybody would, and prints how many
times faster than real time they are, how much processor time they took, the largest memory of all their
processes together, and the load average, since other work on the machine counts against them. The store
of MLflow is there before, as it is in a project that has run a stage. Bounds: 100 times real time together
on two cores, and 2 GB.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import numpy as np
import psutil
import soundfile
from mlflow import MlflowClient

from diffsynth.datasets.manifest import Manifest, describe, write_manifest
from diffsynth.datasets.soundfont import GRID_RESOLUTION, GRID_TEMPO, RENDER_RATE, render_soundfont, snap
from diffsynth.midi.events import Events
from diffsynth.midi.files import read_midi, write_midi

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("midi", type=Path, help="MIDI file")
    parser.add_argument("--minutes", type=float, default=28.0)
    parser.add_argument("--copies", type=int, default=4, help="recordings")
    parser.add_argument("--workers", type=int, default=2, help="processes of either stage")
    parser.add_argument("--soundfont", default="/usr/share/sounds/sf2/FluidR3_GM.sf2")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = repeated(read_midi(options.midi), 60 * options.minutes)
        seconds = options.copies * write_raw(folder / "data" / "raw", events, options)
        parameters = (ROOT / "params.yaml").read_text(encoding="utf8")
        (folder / "params.yaml").write_text(parameters, encoding="utf8")
        MlflowClient(store(folder)).search_experiments(max_results=1)
        print(f"{options.copies} x {seconds / options.copies / 60:.1f} min, {options.workers} processes")
        total = work = 0.0
        for command in ("align", "shard"):
            taken, used, resident, own = run(folder, [command, "--workers", str(options.workers)])
            total += taken
            work += used
            load = os.getloadavg()[0]
            print(
                f"{command}: {taken:.1f} s, {seconds / taken:.0f} times real time, with "
                f"{used:.1f} s of processor time; "
                f"at most {resident / 1e6:.0f} MB resident in all processes, {own / 1e6:.0f} MB of it "
                f"not shared; load average {load:.1f}",
                flush=True,
            )
        print(f"together: {seconds / total:.0f} times real time; {seconds / work:.0f} per core kept busy")


def store(folder: Path) -> str:
    """Address of the MLflow store of the project in a folder."""
    return f"sqlite:///{folder}/mlflow.db"


def repeated(events: Events, seconds: float) -> Events:
    """The events again and again until `seconds`, to the grid of FluidSynth."""
    length = float(events["time"][-1]) + 1
    parts = []
    for start in np.arange(0, seconds, length):
        part = events.copy()
        part["time"] += start
        parts.append(part)
    whole = np.concatenate(parts)
    return snap(whole[whole["time"] < seconds])


def write_raw(raw: Path, events: Events, options: argparse.Namespace) -> float:
    """Write the recordings and their manifest; returns the length of one in s."""
    raw.mkdir(parents=True)
    audio = render_soundfont(events, options.soundfont, RENDER_RATE)
    stereo = np.stack([audio, 0.9 * np.roll(audio, 7)], axis=1)
    entries = []
    for copy in range(options.copies):
        midi, wav = f"p{copy}.mid", f"p{copy}.wav"
        write_midi(raw / midi, events, GRID_RESOLUTION, GRID_TEMPO)
        if copy:
            shutil.copyfile(raw / "p0.wav", raw / wav)
        else:
            soundfile.write(raw / wav, np.clip(stereo, -1, 1), RENDER_RATE, subtype="PCM_16")
        entries.append(describe(raw, f"p{copy}", "train", midi, wav, "", 0))
    write_manifest(raw, Manifest("benchmark", entries, []))
    return len(audio) / RENDER_RATE


def run(folder: Path, arguments: list[str]) -> tuple[float, float, int, int]:
    """What a command takes: seconds of the clock and of processors, bytes resident and not shared at most."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": store(folder),
    }
    start, before = time.monotonic(), os.times()
    process = psutil.Popen([sys.executable, "-m", "pipeline", *arguments], cwd=folder, env=environment)
    resident = own = 0
    while process.poll() is None:
        infos = []
        for each in (process, *process.children(recursive=True)):
            try:
                infos.append(each.memory_full_info())
            except psutil.Error:
                continue
        resident = max(resident, sum(info.rss for info in infos))
        own = max(own, sum(info.uss for info in infos))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{arguments[0]} failed with exit code {process.returncode}")
    after = os.times()
    used = sum(after[2:4]) - sum(before[2:4])  # of processes that have ended, theirs included
    return time.monotonic() - start, used, resident, own


if __name__ == "__main__":
    main()
