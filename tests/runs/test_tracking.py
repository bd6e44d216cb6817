import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support.own_process import ROOT, python

from diffsynth.errors import UserError
from diffsynth.runs.tracking import pipeline_run, track

PIPELINE_RUN = r"\d{8}-\d{6}-\d+"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """The current folder: a git repository with one commit."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text("a = 1\n")
    git("init", "-q")
    git("add", "code.py")
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "first")
    return tmp_path


def git(*words):
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


def history(client, run, key):
    return [(m.step, m.value) for m in client.get_metric_history(run.id, key)]


def interrupted(error):
    """A run of five steps that `error` stops after the first."""
    with pytest.raises(error), track("train", {"steps": 5}, {"try": 1}) as run:  # noqa: PT012
        run.metrics({"loss": 3.0}, 1)
        raise error("stop")
    return run


def test_a_run_holds_what_was_logged(client, tmp_path):
    (tmp_path / "a.txt").write_text("alpha")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.txt").write_text("beta")
    params = {"train": {"steps": 3, "inner": {"sizes": [1, 2]}}, "block": 512}
    with track("train", params, {"model": "s6", "block": 512}) as run:
        run.metrics({"loss": 2.5, "rate": 1}, step=4)
        run.metrics({"loss": 1.5}, step=5)
        run.params({"late": "x" * 7000})
        run.tags({"note": "n"})
        run.artifact(tmp_path / "a.txt")
        run.artifact(tmp_path / "folder")
        assert client.get_run(run.id).info.status == "RUNNING"
    stored = client.get_run(run.id)
    assert (stored.info.status, stored.info.run_name) == ("FINISHED", "s6-512")
    assert client.get_experiment(stored.info.experiment_id).name == "diffsynth"
    assert stored.data.params == {
        "train.steps": "3",
        "train.inner.sizes": "[1, 2]",
        "block": "512",
        "late": "x" * 6000,
    }
    expected = {"stage": "train", "model": "s6", "block": "512", "note": "n"}
    assert {name: stored.data.tags[name] for name in expected} == expected
    assert history(client, run, "loss") == [(4, 2.5), (5, 1.5)]
    assert history(client, run, "rate") == [(4, 1.0)]
    for artifact, text in (("a.txt", "alpha"), ("folder/b.txt", "beta")):
        copy = client.download_artifacts(run.id, artifact, str(tmp_path))
        assert Path(copy).read_text() == text


def test_metrics_are_buffered_and_arrive_in_full_beyond_the_limits_of_one_call(client):
    with track("train", {f"p{i}": i for i in range(250)}, {}) as run:
        for step in range(2300):
            run.metrics({"loss": step / 2}, step)
            if step == 998:
                assert history(client, run, "loss") == []
    assert history(client, run, "loss") == [(step, step / 2) for step in range(2300)]
    assert client.get_run(run.id).data.params == {f"p{i}": str(i) for i in range(250)}


def test_old_metrics_are_sent_before_the_buffer_is_full(client, monkeypatch):
    monkeypatch.setattr("diffsynth.runs.tracking.FLUSH_SECONDS", 0.0)
    with track("train", {}, {}) as run:
        run.metrics({"loss": 7.0}, 1)
        assert history(client, run, "loss") == [(1, 7.0)]


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (UserError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_an_error_ends_the_run_and_keeps_its_metrics(client, error, status):
    run = interrupted(error)
    assert client.get_run(run.id).info.status == status
    assert history(client, run, "loss") == [(1, 3.0)]


def test_a_run_is_continued_under_its_id(client):
    first = interrupted(RuntimeError)
    with track("train", {"steps": 6}, {"try": 2}, run_id=first.id) as second:
        second.metrics({"loss": 1.0}, 2)
    stored = client.get_run(first.id)
    assert second.id == first.id
    assert stored.info.status == "FINISHED"
    assert history(client, first, "loss") == [(1, 3.0), (2, 1.0)]
    assert stored.data.tags["try"] == "2"
    assert stored.data.params == {"steps": "5"}  # the run keeps what it was started with


def test_an_unknown_run_is_replaced_by_a_new_one(client):
    with track("train", {"steps": 5}, {}, run_id="0" * 32) as run:
        pass
    assert run.id != "0" * 32
    assert client.get_run(run.id).data.params == {"steps": "5"}


def test_an_exported_run_id_does_not_capture_a_stage(client, monkeypatch):
    with track("train", {}, {}) as other:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", other.id)
    with track("infer", {}, {}) as run:
        run.metrics({"loss": 1.0}, 1)
    assert run.id != other.id
    assert history(client, other, "loss") == []


def test_the_commit_is_a_tag_and_changes_make_it_dirty(client, repository):
    def tags():
        with track("align", {}, {}) as run:
            pass
        return client.get_run(run.id).data.tags

    (repository / "dvc.lock").write_text("x")
    (repository / "results").mkdir()
    (repository / "listening").mkdir()
    (repository / "listening" / "test.json").write_text("x")
    (repository / "results" / "a.json").write_text("x")
    clean = tags()
    (repository / "code.py").write_text("a = 2\n")
    dirty = tags()
    assert clean["commit"] == dirty["commit"] == clean["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert (clean["dirty"], dirty["dirty"]) == ("false", "true")


def test_a_folder_outside_git_has_no_commit(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with track("align", {}, {}) as run:
        pass
    assert not {"commit", "dirty", "mlflow.source.git.commit"} & set(client.get_run(run.id).data.tags)


def test_a_missing_artifact_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.png does not exist"), track("align", {}, {}) as run:
        run.artifact(tmp_path / "nothing.png")


def test_pipeline_run_is_what_the_environment_says(monkeypatch):
    monkeypatch.setenv("DIFFSYNTH_PIPELINE_RUN", "mine")
    assert pipeline_run() == "mine"


def test_stages_by_hand_are_one_pipeline_run_until_code_or_parameters_change(repository):
    first = pipeline_run()
    assert re.fullmatch("by-hand-[0-9a-f]{8}", first)
    (repository / "dvc.lock").write_text("x")
    (repository / "results").mkdir()
    (repository / "results" / "a.json").write_text("x")
    assert python("from diffsynth.runs.tracking import pipeline_run; print(pipeline_run())", repository) == (
        f"{first}\n"
    )
    seen = {first}
    for change in (("code.py", "a = 2\n"), ("params.yaml", "lr: 1\n"), ("params.yaml", "lr: 2\n")):
        (repository / change[0]).write_text(change[1])
        seen.add(pipeline_run())
    assert len(seen) == 4


@pytest.mark.parametrize(
    "dvc", [["-m", "dvc"], [str(Path(sysconfig.get_path("scripts"), "dvc"))]], ids=["module", "script"]
)
def test_all_stages_of_one_repro_share_their_pipeline_run(tmp_path, dvc):
    stage = "    cmd: python stage.py {0}\n    deps: [stage.py]\n    outs: [{0}]\n"
    names = "ab"
    (tmp_path / "dvc.yaml").write_text("stages:\n" + "".join(f"  {n}:\n{stage.format(n)}" for n in names))
    (tmp_path / "stage.py").write_text(
        "import sys\nfrom diffsynth.runs.tracking import pipeline_run\n"
        "open(sys.argv[1], 'w').write(pipeline_run() + ' ')\n"
    )
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\n no_scm = true\n analytics = false\n check_update = false\n"
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    seen = []
    for force in ([], ["--force"]):
        subprocess.run(
            [sys.executable, *dvc, "repro", *force],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
            check=True,
            capture_output=True,
        )
        seen.append({(tmp_path / name).read_text().strip() for name in names})
    assert [len(found) for found in seen] == [1, 1]
    assert seen[0] != seen[1]
    assert all(re.fullmatch(PIPELINE_RUN, found) for found in seen[0] | seen[1])
