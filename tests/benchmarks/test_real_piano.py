"""Wrong input ends before the work begins, in one line."""

import subprocess
import sys
from pathlib import Path

import pytest
import real_piano

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "data" / "demo"
SCRIPT = ROOT / "benchmarks" / "real_piano.py"


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """What the script says last, on options that it does not take."""
    monkeypatch.chdir(tmp_path)

    def last_line(folder, *options):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(folder), "out", *options])
        with pytest.raises(SystemExit) as end:
            real_piano.main()
        assert end.value.code == 2
        assert not list(tmp_path.iterdir())
        return capsys.readouterr().err.splitlines()[-1]

    return last_line


def test_wrong_input_is_one_line(refused):
    assert refused(DEMO, "--test", "another") == f"real_piano.py: error: not in {DEMO}: another"


def test_it_runs_as_a_script_from_anywhere(tmp_path):
    command = [sys.executable, SCRIPT, "nowhere", "out", "--test", "music_3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "real_piano.py: error: nowhere is not a folder"
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
def test_options_that_cannot_be_are_one_line_and_leave_nothing(refused, options, says):
    assert says in refused(DEMO, "--test", "music_3", *options)
