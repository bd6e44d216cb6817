"""Wrong input ends before the work begins, in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "data" / "demo"


@pytest.mark.parametrize(
    ("folder", "test", "says"),
    [("nowhere", "music_3", "nowhere is not a folder"), (DEMO, "another", f"not in {DEMO}: another")],
)
def test_wrong_input_is_one_line(tmp_path, folder, test, says):
    script = ROOT / "benchmarks" / "real_piano.py"
    command = [sys.executable, script, folder, "out", "--test", test]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"real_piano.py: error: {says}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--models", "gru"], "unknown model 'gru'"),
        (["--models", "lstm", "--blocks", "500"], "unknown block 500"),
        (["--models", "lstm", "--blocks", "many"], "many"),
        (["--models", "lstm", "--steps", "0"], "train: steps must be at least 1, not 0"),
        (["--share", "0"], "--share must be above 0 and at most 1, not 0.0"),
    ],
)
def test_options_that_cannot_be_are_one_line_and_leave_nothing(tmp_path, options, says):
    script = ROOT / "benchmarks" / "real_piano.py"
    command = [sys.executable, script, DEMO, "out", "--test", "music_3", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())
