"""A copy of the repository without git, as a ZIP is: DVC has to be told, and is."""

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc.scm import SCMError

ROOT = Path(__file__).parents[2]
STAGE = "stages:\n  one:\n    cmd: echo 1 > out\n    outs: [out]\n"


def git(folder, *words):
    name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True).stdout


@pytest.fixture
def clone(tmp_path):
    """A git repository with this project's configuration of DVC and a pipeline of one stage."""
    folder = tmp_path / "clone"
    (folder / ".dvc").mkdir(parents=True)
    (folder / "dvc.yaml").write_text(STAGE)
    # Where the tests themselves run in a ZIP, the setting is made the comment again that it is in a clone.
    config = (ROOT / ".dvc" / "config").read_text()
    (folder / ".dvc" / "config").write_text(config.replace("#\n    no_scm", "#$Format:%n$    no_scm"))
    for name in (".gitattributes", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def reproduce(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return [stage.name for stage in Repo(str(folder)).reproduce()]


def test_in_a_clone_dvc_uses_git(clone, monkeypatch):
    assert not Repo(str(clone)).config["core"]["no_scm"]
    assert reproduce(clone, monkeypatch) == ["one"]


def test_dvc_runs_in_an_archive_that_git_makes(clone, tmp_path, monkeypatch):
    with tarfile.open(fileobj=io.BytesIO(git(clone, "archive", "HEAD"))) as archive:
        archive.extractall(tmp_path / "zip")
    assert reproduce(tmp_path / "zip", monkeypatch) == ["one"]


def test_dvc_runs_in_a_plain_copy_once_the_project_is_installed(clone, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(clone, copy, ignore=shutil.ignore_patterns(".git"))
    with pytest.raises(SCMError, match="is not a git repository"):
        reproduce(copy, monkeypatch)
    install(copy)
    assert reproduce(copy, monkeypatch) == ["one"]


def test_installing_a_clone_changes_nothing(clone):
    install(clone)
    assert git(clone, "status", "--porcelain", ".dvc") == b""
    assert not (clone / ".dvc" / "config.local").exists()


def install(folder):
    """What an installer asks of the project before it builds it."""
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "diffsynth"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "setup.py").unlink()
    shutil.copy(ROOT / "setup.py", folder / "setup.py")
    subprocess.run([sys.executable, "setup.py", "--version"], cwd=folder, check=True, capture_output=True)
