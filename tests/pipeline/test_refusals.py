"""What the system, the disk or the memory refuses is one line, and defects keep their traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events
from diffsynth.midi.files import write_midi
from pipeline.app import LazyGroup, run

ROOT = Path(__file__).parents[2]


def failing(name, error):
    def command() -> None:
        raise error

    single = typer.Typer(add_completion=False)
    single.command(name)(command)
    return typer.main.get_command(single)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EFBIG, errno.ENAMETOOLONG])
def test_a_refusal_of_the_system_is_one_line(number, monkeypatch, capsys):
    error = OSError(number, os.strerror(number), "data/raw")
    monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: failing(name, error))
    assert run(["align"]) == 2
    assert capsys.readouterr().err == f"diffsynth: [Errno {number}] {os.strerror(number)}: 'data/raw'\n"


def test_a_defect_keeps_its_traceback(monkeypatch):
    for error in (ZeroDivisionError("defect"), OSError(errno.EBADF, "defect")):
        monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name, e=error: failing(name, e))
        with pytest.raises(type(error), match="defect"):
            run(["align"])


@pytest.mark.parametrize(
    ("command", "out"), [("render", ["{}"]), ("play", ["--sink", "{}", "--block", "4096"])]
)
def test_a_limit_of_files_is_one_line_where_libsndfile_meets_it(tmp_path, command, out):
    """In a process of its own, whose files may have 8 kB: the same as a full disk."""
    write_midi(tmp_path / "a.mid", make_events([(0.0, NOTE_ON, 60, 90), (1.0, NOTE_OFF, 60, 0)]))
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)); "
    limited += "from pipeline.app import main; main(sys.argv[1:])"
    words = [command, str(tmp_path / "a.mid"), *(word.format(tmp_path / "a.wav") for word in out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", limited, *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"diffsynth: cannot write {tmp_path / 'a.wav'}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mid"]


def test_too_little_memory_is_one_line(monkeypatch, capsys):
    error = MemoryError("Unable to allocate 47 TiB")
    monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: failing(name, error))
    assert run(["align"]) == 2
    assert capsys.readouterr().err == "diffsynth: there is not enough memory: Unable to allocate 47 TiB\n"


def test_a_picture_that_is_no_png_is_refused_before_the_work(tmp_path, capsys):
    pair = ["--target", "none.wav", "--prediction", "none.wav"]
    assert (
        run(["evaluate", *pair, "--figure", str(tmp_path / "x.txt"), "--params", str(ROOT / "params.yaml")])
        == 2
    )
    assert capsys.readouterr().err.endswith("x.txt must end in .png\n")


def test_a_folder_that_holds_the_input_is_not_written(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "manifest.json").touch()
    params = ["--params", str(ROOT / "params.yaml")]
    for out in (tmp_path / "raw", tmp_path):
        assert run(["align", "--raw", str(tmp_path / "raw"), "--out", str(out), *params]) == 2
        assert "which would be replaced; choose another folder to write" in capsys.readouterr().err
    assert (tmp_path / "raw" / "manifest.json").exists()
