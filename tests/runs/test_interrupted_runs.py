"""Training that is stopped by a signal: what it leaves, how it goes on, and with what it does not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
from mlflow import MlflowClient
from safetensors import safe_open

from diffsynth.runs import resuming
from diffsynth.runs.files import read_json, write_json

ROOT = Path(__file__).parents[2]
VARIANT = ["--model", "lstm", "--block", 1024]


def weights_of(folder, model="lstm"):
    return folder / "models" / "1024" / f"{model}.safetensors"


Interrupted = namedtuple("Interrupted", "folder step run_id")


LONG = 200  # steps: more than are done between the first checkpoint and a signal


def set_long(project, folder):
    """Parameters of a long run, which is validated twice."""
    text = (project.folder / "params.yaml").read_text()
    for old, new in (("steps: 8\n", f"steps: {LONG}\n"), ("validate_every: 4\n", "validate_every: 100\n")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "params.yaml").write_text(text)


def interrupted_train(project, folder, number):
    """Starts `train` as a process, stops it with a signal after its first checkpoint."""
    set_long(project, folder)
    options = [*VARIANT, "--data-dir", project.data]
    command = [sys.executable, "-m", "pipeline", "train", *map(str, options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen(command, cwd=folder, env=environment, **pipes)
    checkpoint, end = folder / "checkpoints" / "1024" / "lstm.safetensors", time.monotonic() + 120
    while not checkpoint.exists() and child.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    child.send_signal(number)
    _, error = child.communicate(timeout=60)
    with safe_open(str(checkpoint), framework="pt") as file:
        numbers = json.loads(file.metadata()["numbers"])
    assert not (folder / "models").exists()
    return child.returncode, error, Interrupted(folder, numbers["progress"]["step"], numbers["run_id"])


@pytest.fixture(scope="module")
def interrupted(project, tmp_path_factory):
    """A run that SIGTERM has stopped."""
    folder = tmp_path_factory.mktemp("interrupted")
    code, error, run = interrupted_train(project, folder, signal.SIGTERM)
    assert (code, error) == (143, "")
    assert 3 <= run.step < LONG
    return run


@pytest.fixture(scope="module")
def whole(project, tmp_path_factory):
    """The same run, which nothing has stopped."""
    folder = tmp_path_factory.mktemp("whole")
    set_long(project, folder)
    assert project.run("train", *VARIANT, "--data-dir", project.data, folder=folder) == 0
    return folder


@pytest.fixture
def resumable(interrupted, tmp_path):
    """A copy of it, to go on with."""
    shutil.copytree(interrupted.folder, tmp_path, dirs_exist_ok=True)
    return interrupted._replace(folder=tmp_path)


def test_an_interrupted_training_goes_on_and_ends_as_if_it_had_not_been(
    project, resumable, whole, mlflow_store, capsys
):
    options = [*VARIANT, "--data-dir", project.data]
    client = MlflowClient(mlflow_store)
    assert client.get_run(resumable.run_id).info.status == "KILLED"
    assert project.run("train", *options, folder=resumable.folder) == 0
    assert capsys.readouterr().out.startswith(f"continuing lstm-1024 after step {resumable.step}\n")
    assert client.get_run(resumable.run_id).info.status == "FINISHED"
    losses = client.get_metric_history(resumable.run_id, "loss")
    assert sorted(metric.step for metric in losses) == list(range(1, LONG + 1))
    assert weights_of(resumable.folder).read_bytes() == weights_of(whole).read_bytes()
    curve = os.path.join("results", "train", "1024", "lstm", "loss.csv")
    assert (resumable.folder / curve).read_bytes() == (whole / curve).read_bytes()
    assert checkpoints(resumable.folder) == ["finished/1024/lstm.safetensors"]


def test_ctrl_c_is_one_line_and_leaves_a_checkpoint(project, tmp_path):
    code, error, run = interrupted_train(project, tmp_path, signal.SIGINT)
    assert (code, error) == (130, "diffsynth: interrupted\n")
    assert run.step >= 3


def other_data(project, folder):
    """A copy of the data, whose index names another shard."""
    shutil.copytree(project.data, folder / "data")
    path = folder / "data" / "features" / "index.json"
    index = read_json(path)
    index["splits"]["train"]["shards"][0]["sha256"] = "0" * 64
    write_json(path, index)
    return folder / "data"


def checkpoints(folder):
    """Names of all checkpoints, from their folder."""
    place = folder / "checkpoints"
    return [path.relative_to(place).as_posix() for path in place.rglob("*.safetensors")]


def other_code(folder, monkeypatch):
    """Library with a comment more."""
    shutil.copytree(resuming.LIBRARY, folder / "library")
    with (folder / "library" / "diffusion" / "loss.py").open("a") as file:
        file.write("# changed\n")
    monkeypatch.setattr(resuming, "LIBRARY", folder / "library")


@pytest.mark.parametrize("what", ["learning rate", "units", "seed", "data", "code"])
def test_a_checkpoint_of_something_else_is_refused(project, resumable, refuse, monkeypatch, what):
    change = {
        "learning rate": ["--learning-rate", 0.003],
        "units": ["--units", 13],
        "seed": ["--seed", 1],
    }.get(what, [])
    data = other_data(project, resumable.folder) if what == "data" else project.data
    if what == "code":
        other_code(resumable.folder, monkeypatch)
    error = refuse("train", *VARIANT, "--data-dir", data, *change)
    path = os.path.join("checkpoints", "1024", "lstm.safetensors")
    difference = {
        "learning rate": "train.learning_rate is 0.003 and was 0.004",
        "units": "network.units is 13 and was 12",
        "seed": "train.seed is 1 and was 0",
        "data": "features/index.json has changed",
        "code": "diffsynth/diffusion/loss.py has changed",
    }[what]
    use = "--resume-anyway to go on from it, " if what in ("learning rate", "code") else ""
    assert error == (
        f"{path} belongs to another run: {difference}; "
        f"use {use}--restart to train from the beginning, or remove {path}"
    )
    if not use:  # not even then
        assert refuse("train", *VARIANT, "--data-dir", data, *change, "--resume-anyway") == error


def test_changed_code_can_be_accepted(project, resumable, whole, monkeypatch, capsys):
    other_code(resumable.folder, monkeypatch)
    options = [*VARIANT, "--data-dir", project.data]
    assert project.run("train", *options, "--resume-anyway", folder=resumable.folder) == 0
    assert capsys.readouterr().out.startswith(
        f"continuing lstm-1024 after step {resumable.step}, though diffsynth/diffusion/loss.py has changed\n"
    )
    assert weights_of(resumable.folder).read_bytes() == weights_of(whole).read_bytes()  # it was a comment


def test_a_damaged_checkpoint_is_refused(project, resumable, refuse):
    path = resumable.folder / "checkpoints" / "1024" / "lstm.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    error = refuse("train", *VARIANT, "--data-dir", project.data)
    assert "is damaged: use --restart to train from the beginning" in error


def test_restart_begins_anew(project, resumable, trained, capsys):
    (resumable.folder / "params.yaml").unlink()  # back to that of the project
    options = [*VARIANT, "--data-dir", project.data, "--restart"]
    assert project.run("train", *options, folder=resumable.folder) == 0
    assert "continuing" not in capsys.readouterr().out
    assert weights_of(resumable.folder).read_bytes() == weights_of(trained).read_bytes()
    assert checkpoints(resumable.folder) == ["finished/1024/lstm.safetensors"]
