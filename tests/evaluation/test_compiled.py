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


@pytest.mark.parametrize("home", ["file", "file/below"])
def test_without_a_home_the_cache_is_a_private_temporary_folder(start, tmp_path, home):
    (tmp_path / "file").write_text("in the way")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    changes = {"XDG_CACHE_HOME": "", "HOME": str(tmp_path / home), "TMPDIR": str(temporary)}
    assert start(**changes)[1] == str(temporary / f"diffsynth-{os.getuid()}" / "numba" / "0")
    assert (temporary / f"diffsynth-{os.getuid()}").stat().st_mode & 0o777 == 0o700


def test_a_temporary_folder_that_others_can_write_is_not_used(start, tmp_path):
    shared = tmp_path / f"diffsynth-{os.getuid()}"
    shared.mkdir()
    shared.chmod(0o777)
    assert start("/proc/none", TMPDIR=str(tmp_path))[1] == "None"


def python(code, folder, **environment):
    """What `code` prints, and its errors, in a process of its own; None removes a variable."""
    known = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", **environment}
    known = {name: value for name, value in known.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", code], env=known, capture_output=True, text=True, check=False
    )
    return done.stdout, done.stderr


def test_where_numba_finds_no_place_either_the_error_says_what_to_do(tmp_path):
    # As librosa does where the folder of packages cannot be written: root can write everywhere.
    (tmp_path / "librosa.py").write_text("raise RuntimeError('cannot cache function: no locator available')")
    _, error = python("import diffsynth.evaluation.compiled", tmp_path, NUMBA_CACHE_DIR="/proc/none")
    message = "UserError: librosa needs a folder for its compiled code: set NUMBA_CACHE_DIR to one"
    assert error.splitlines()[-1].endswith(message)


def test_without_a_home_matplotlib_is_quiet(tmp_path):
    code = (
        "from pipeline.app import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
        "import matplotlib; print(matplotlib.get_cachedir())"
    )
    none = {"HOME": "/proc/none", "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None, "MPLCONFIGDIR": None}
    shown, error = python(code, tmp_path, TMPDIR=str(tmp_path), **none)
    assert error == ""
    assert shown.splitlines()[-1] == str(tmp_path / f"diffsynth-{os.getuid()}" / "matplotlib")
