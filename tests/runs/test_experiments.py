"""`dvc exp run --temp` and `--queue` with the real DVC: stages run in a copy that vanishes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from diffsynth.runs.project import project_root
from diffsynth.runs.tracking import track

ROOT = Path(__file__).parents[2]
STAGE = """
import pathlib, yaml
from diffsynth.runs.tracking import track
from pipeline import paths

lr = yaml.safe_load(open("params.yaml"))["lr"]
with track("train", {"lr": lr}, {}) as run:
    checkpoint = paths.checkpoint("lstm", 512, f"{lr:x>64}")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text(str(pathlib.Path.cwd()))
pathlib.Path("out").write_text(str(lr))
"""
FILES = {
    "stage.py": STAGE,
    "params.yaml": "lr: 1\n",
    "dvc.yaml": "stages:\n  train:\n    cmd: python stage.py\n    deps: [stage.py]\n    params: [lr]\n"
    "    outs: [out]\n",
    ".dvc/config": "[core]\n    analytics = false\n    check_update = false\n",
    ".gitignore": "/mlflow.db*\n/mlruns\n/checkpoints\n/out\n",
    ".dvc/.gitignore": "/tmp\n/cache\n/config.local\n",
}


@pytest.fixture
def project(tmp_path, mlflow_store, monkeypatch):
    """A git repository with a pipeline of one stage, and a store that is there already."""
    folder = tmp_path / "my project"  # DVC itself does not take a "#" here
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    with track("align", {}, {}):  # a copy of a store is there at once, a new one takes seconds
        shutil.copy(mlflow_store.removeprefix("sqlite:///"), folder / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for variable in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{variable}_NAME", "a")
        monkeypatch.setenv(f"GIT_{variable}_EMAIL", "a@example.org")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    return folder


def git(*words):
    subprocess.run(["git", *words], check=True, capture_output=True)


def dvc(*words):
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_runs_and_checkpoints_of_a_temporary_copy_go_to_the_project(project):
    dvc("exp", "run", "--temp", "-S", "lr=2")
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("diffsynth").experiment_id  # other tests may have made others
    (run,) = client.search_runs([experiment], "tags.stage = 'train' and params.lr = '2'")
    assert run.info.status == "FINISHED"
    (kept,) = (project / "checkpoints").rglob("*.safetensors")
    assert kept.name == "lstm-512-xxxxxxxxxxxxxxxx.safetensors"
    assert not Path(kept.read_text()).exists()  # it was written in another folder, which is gone


def test_the_project_is_the_current_folder_but_in_a_copy_of_it(tmp_path, monkeypatch):
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmpx"
    copy.mkdir(parents=True)
    for folder, named, root in (
        (tmp_path, None, tmp_path),
        (tmp_path, tmp_path, tmp_path),
        (copy, tmp_path, tmp_path),
        (copy, None, copy),
        (copy.parent, tmp_path / "another", copy.parent),
    ):
        monkeypatch.chdir(folder)
        monkeypatch.delenv("DVC_ROOT", raising=False)
        if named:
            monkeypatch.setenv("DVC_ROOT", str(named))
        assert project_root() == root
