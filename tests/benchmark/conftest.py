"""Two short performances in a folder, and a benchmark of them."""

import shutil
from pathlib import Path

import pytest
from support.benchmarked import NAMES, SECONDS, table
from support.fluidsynth import SOUNDFONT, missing
from support.programs import LATE, TONES, program

from diffsynth.audio.files import read_audio, write_audio
from diffsynth.benchmark.pieces import cut
from diffsynth.midi.files import read_midi, write_midi
from pipeline.app import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def performances(tmp_path_factory):
    """The beginnings of two pieces of the demo."""
    folder = tmp_path_factory.mktemp("my pairs")
    for name in NAMES:
        samples, rate = read_audio(ROOT / "data" / "demo" / f"{name}.flac")
        write_audio(folder / f"{name}.flac", samples[: SECONDS * rate], rate)
        events = cut(read_midi(ROOT / "data" / "demo" / f"{name}.mid"), SECONDS)
        write_midi(folder / f"{name}.mid", events, 24000, 60.0)
    (folder / "alone.mid").write_bytes((folder / "music_3.mid").read_bytes())
    return folder


@pytest.fixture
def bench(performances, tmp_path, monkeypatch):
    """Runs the benchmark of the performances in a folder of its own; returns the exit code."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")

    def start(*options):
        return run(["benchmark", str(performances), "--out", str(tmp_path / "out"), *options])

    return start


@pytest.fixture(scope="session")
def options(performances, tmp_path_factory):
    """Of the benchmark `done`: a released voice, two programs, and FluidSynth where it is installed."""
    folder = tmp_path_factory.mktemp("programs")
    font = [] if missing else ["--soundfont", str(SOUNDFONT)]
    late = program(folder, "late", LATE, performances, 30)
    return ["--models=lstm", "--blocks=512", late, program(folder, "tones", TONES), *font]


@pytest.fixture(scope="session")
def done(performances, options, tmp_path_factory):
    """The folder of a whole benchmark."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    assert run(["benchmark", str(performances), "--out", str(out), *options]) == 0
    return out


@pytest.fixture(scope="session")
def rows(done):
    """Rows of its table, by system and what they are means over."""
    return {(row["system"], row["mean_over"]): row for row in table(done / "results.csv")}
