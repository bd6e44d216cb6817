"""Every process that runs at the same time has a Numba cache of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffsynth.evaluation.compiled import VARIABLE

ROOT = Path(__file__).parents[2]
SHOW = """
import os, sys
from diffsynth.evaluation.compiled import librosa
print(os.environ.get("NUMBA_CACHE_DIR"), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process that imports librosa, and gives it and its cache; it goes on until it is told."""
    children = []

    def started(caches=tmp_path, **changes):
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        environment |= {"XDG_CACHE_HOME": str(caches), "PYTHONPATH": str(ROOT), **changes}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        child = subprocess.Popen([sys.executable, "-c", SHOW], env=environment, **pipes)
        children.append(child)
        return child, child.stdout.readline().rstrip("\n")

    yield started
    for child in children:
        child.communicate("\n", timeout=60)
        assert child.returncode in (0, -9)


def test_processes_at_the_same_time_do_not_share_a_cache(start, tmp_path):
    folder = tmp_path / "diffsynth" / "numba"
    first, cache = start()
    assert cache == str(folder / "0")
    assert start()[1] == str(folder / "1")
    first.kill()
    first.wait()
    assert start()[1] == str(folder / "0")  # what was compiled is used again


def test_a_cache_that_is_named_is_left(start, tmp_path):
    assert start(**{VARIABLE: str(tmp_path / "mine")})[1] == str(tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_numba_chooses_itself(start, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert start(tmp_path / "file")[1] == "None"
