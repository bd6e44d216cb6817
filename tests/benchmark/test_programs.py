"""Programs that a benchmark starts: how they fail, and how a run goes on."""

import json
import os
import sys
import time

import pytest
from support.benchmarked import NAMES, table
from support.own_process import start_python
from support.programs import TONES, program

from diffsynth.benchmark.rendering import writing

# Does what its first argument says, in place of a sound file.
BAD = """
import os, signal, subprocess, sys, time
from pathlib import Path
what, midi, wav = sys.argv[1:]
if what == "says why":
    print("\\nfirst line", file=sys.stderr)
    print("no such\\tinstrument\\n", file=sys.stderr)
    sys.exit(7)
if what == "dies":
    os.kill(os.getpid(), signal.SIGSEGV)
if what == "writes text":
    Path(wav).write_text("sound")
if what == "sleeps":
    child = subprocess.Popen(["sleep", "60"])
    Path("child").write_text(str(child.pid))
    time.sleep(60)
"""
# Kills the benchmark when it is asked for the second performance, but once.
KILLER = (
    """
import os, signal, time
from pathlib import Path
if Path("tones.log").exists() and not Path("killed").exists():
    Path("killed").touch()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
"""
    + TONES
)


def alive(process):
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("says why", "bad failed with exit code 7 at music_12: no such instrument"),
        ("dies", "bad was ended by signal 11 at music_12"),
        ("writes nothing", "bad wrote no {wav} of music_12"),
        ("writes text", "bad wrote no sound file of music_12: "),
        ("sleeps", "bad took more than 2 s for music_12"),
    ],
)
def test_one_that_fails_is_one_line_and_leaves_nothing(what, message, bench, tmp_path, capsys):
    begin = time.monotonic()
    assert bench("--models=", program(tmp_path, "bad", BAD, what), "--timeout=2") == 2
    assert time.monotonic() - begin < 40
    said = [line for line in capsys.readouterr().err.splitlines() if "left out" not in line]
    assert len(said) == 1
    assert said[0].startswith(f"diffsynth: {message}")
    written = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written <= {".benchmark"}
    if what == "sleeps":
        assert not alive(int((tmp_path / "child").read_text()))


def test_a_run_that_is_killed_goes_on(bench, tmp_path, performances, mlflow_store, capsys):
    option = program(tmp_path, "tones", KILLER)
    command = ["benchmark", str(performances), "--out", "out", "--models=", option]
    code = f"from pipeline.app import main; main({command!r})"
    process = start_python(code, tmp_path, MLFLOW_TRACKING_URI=mlflow_store)
    process.communicate(timeout=120)
    assert process.returncode == -9
    assert [path.stem for path in (tmp_path / "out" / "renders" / "tones").glob("*.wav")] == NAMES[:1]
    assert bench("--models=", option) == 0
    assert (tmp_path / "tones.log").read_text().split() == NAMES  # each once
    assert len(list((tmp_path / "out" / "renders" / "tones").glob(".part-*"))) == 0
    assert len(table(tmp_path / "out" / "performances.csv")) == 3 * len(NAMES)
    # Another program is another system: nothing of the first is taken for its own.
    (tmp_path / "tones.py").write_text(TONES)
    assert bench("--models=", option) == 0
    assert (tmp_path / "tones.log").read_text().split() == 2 * NAMES


def test_no_shell_sees_a_command(bench, tmp_path):
    """What a shell would expand reaches the program as it is."""
    says = "import sys, json; json.dump(sys.argv[1:-2], open('said', 'w'));" + TONES.replace(
        "midi, wav = sys.argv[1:]", "midi, wav = sys.argv[-2:]"
    )
    assert bench("--models=", program(tmp_path, "words", says, "$HOME", "a b", "*", "`id`;|")) == 0
    assert json.loads((tmp_path / "said").read_text()) == ["$HOME", "a b", "*", "`id`;|"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models=gru"], "unknown model 'gru'"),
        (["--blocks=500"], "unknown block 500"),
        (["--blocks=fast"], "--blocks takes numbers with commas between them, not 'fast'"),
        (["--models="], "there is no system: name some with --models, --voice, --soundfont or --system"),
        (["--models=unet", "--blocks=512"], "there is no system: left out unet-512: no weights for unet"),
        (["--system=tones"], "--system takes NAME='command {midi} {wav}', not 'tones'"),
        (["--system=a/b=x {midi} {wav}"], "--system takes NAME=..., letters, digits"),
        (["--system=a=true {midi}"], "--system a: the command lacks {wav}"),
        (["--system=a=true {wav}"], "--system a: the command lacks {midi}"),
        (["--system=a=true '{midi} {wav}"], "--system a: No closing quotation in"),
        (["--system=a=no-such-program {midi} {wav}"], "--system a: there is no program no-such-program"),
        (["--system=a=true {midi} {wav}", "--system=A=true {midi} {wav}"], "cannot be called a (again)"),
        (["--system=lstm-512=true {midi} {wav}", "--blocks=512"], "cannot be called lstm-512 (again)"),
        (["--system=recording=true {midi} {wav}"], "cannot be called recording (again)"),
        (["--voice=mine"], "--voice takes NAME=weights.safetensors, not 'mine'"),
        (["--voice=mine=none.safetensors"], "none.safetensors does not exist"),
        (["--soundfont=none.sf2"], "none.sf2 does not exist"),
        (["--models=lstm", "--from=9"], "holds no usable pair of MIDI and audio"),
        (["--models=lstm", "--seconds=inf"], "--seconds takes a number of seconds, not inf"),
    ],
)
def test_wrong_input_is_one_line(options, message, bench, tmp_path, capsys):
    if options[0].startswith("--soundfont"):
        pytest.importorskip("fluidsynth")
    assert bench(*options, *(["--models=lstm"] if "system" in options[0] else [])) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err
    assert not (tmp_path / "out").exists()


def test_folders_that_hold_something_else_are_left_alone(bench, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("mine")
    assert bench("--models=lstm") == 2
    assert "out holds other files" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


def test_two_runs_do_not_write_one_folder(bench, tmp_path, capsys):
    with writing(tmp_path / "out"):
        assert bench("--models=", program(tmp_path, "tones", TONES)) == 2
    assert capsys.readouterr().err == f"diffsynth: {tmp_path}/out is being written by another process\n"
    assert bench("--models=", program(tmp_path, "tones", TONES), "--seconds=1") == 0


def test_a_folder_without_pairs_is_named(bench, tmp_path, capsys):
    from pipeline.app import run

    (tmp_path / "empty").mkdir()
    assert run(["benchmark", "empty", "--models=lstm", "--blocks=512"]) == 2
    assert capsys.readouterr().err == "diffsynth: empty holds no usable pair of MIDI and audio\n"
    assert run(["benchmark", "empty", "--out", ".", "--models=lstm"]) == 2
    assert "empty lies in ." in capsys.readouterr().err


def test_the_interpreter_and_the_script_are_among_the_digests(tmp_path):
    from diffsynth.benchmark.external import External

    option = program(tmp_path, "tones", TONES).removeprefix("--system=")
    files = External.parse(option, 1.0).origin()["files"]
    assert set(files) == {sys.executable, str(tmp_path / "tones.py")}
