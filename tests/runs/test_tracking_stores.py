"""Stores of runs: the default one, a server, and those that cannot be used."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support.falling_server import door
from support.own_process import python, start_python

from diffsynth.errors import UserError
from diffsynth.runs.tracking import track


def test_the_default_store_is_made_without_a_word_by_several_processes_at_once(tmp_path):
    code = (
        "from diffsynth.runs.tracking import track\n"
        "with track('align', {}, {}) as run: run.artifact('a.txt'); run.voice('a.txt', {'a': 1})"
    )
    (tmp_path / "a.txt").write_text("alpha")
    processes = [start_python(code, tmp_path) for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in processes] == ["", ""]
    runs = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_runs(["1"])
    assert sorted(run.data.tags["stage"] for run in runs) == ["align", "align", "pipeline"]
    for run in [each for each in runs if each.data.tags["stage"] == "align"]:
        assert (tmp_path / "mlruns" / run.info.run_id / "artifacts" / "a.txt").read_text() == "alpha"
    versions = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_model_versions(
        "name = 'diffsynth-align'"
    )
    assert sorted(int(version.version) for version in versions) == [1, 2]


def test_a_deleted_experiment_says_how_to_get_out(client, mlflow_store, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    with track("align", {}, {}) as run:
        pass
    number = client.get_run(run.id).info.experiment_id
    assert client.get_experiment(number).name == "mine"
    client.delete_experiment(number)
    with pytest.raises(UserError) as error, track("align", {}, {}):
        raise AssertionError("the body must not run")
    uri = f"MLFLOW_TRACKING_URI={mlflow_store}"
    restore = f"mlflow experiments restore --experiment-id {number}"
    assert str(error.value) == (
        f"the MLflow experiment mine at {mlflow_store} is deleted: restore it ({uri} {restore}) "
        f"or name another one in MLFLOW_EXPERIMENT_NAME"
    )
    client.restore_experiment(number)
    with track("align", {}, {}) as again:
        pass
    assert client.get_run(again.id).info.experiment_id == number


def test_telemetry_is_off(mlflow_store, tmp_path):
    # MLflow turns it off by itself where the environment has signs of a test or of a CI system.
    code = (
        "import os\nfor name in set(os.environ) - {'PATH', 'MLFLOW_TRACKING_URI'}: del os.environ[name]\n"
        "from diffsynth.runs.tracking import track\nwith track('align', {}, {}): pass\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled; print(is_telemetry_disabled())"
    )
    assert python(code, tmp_path, MLFLOW_TRACKING_URI=mlflow_store) == "True\n"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://user:secret@127.0.0.1:9", "Connection refused"),
        ("sqlite:///FOLDER/file/x.db", "Not a directory|File exists"),
        ("sqlite:///FOLDER/file", "file is not a database"),
        ("nonsense://x", "unsupported URI"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_before_work_starts(uri, message, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a database, but long enough to have the header of one" * 9)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("FOLDER", str(tmp_path)))
    start = time.monotonic()
    worked = False
    with pytest.raises(UserError, match=message) as error, track("align", {}, {}):
        worked = True
    assert not worked
    assert time.monotonic() - start < 15
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


FILLS = """
import os, resource
from diffsynth.errors import UserError
from diffsynth.runs.tracking import track

def fill():  # no file may grow from now on
    size = os.path.getsize("mlflow.db")
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

values = {str(number): "a" * 500 for number in range(90)}
try:
    BEFORE
    with track("align", values, {}) as run:
        fill()
        run.params({f"more{name}": value for name, value in values.items()})
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("before", ["fill()", ""])
def test_a_store_without_room_is_one_line_and_no_traceback(before, mlflow_store, tmp_path):
    with track("align", {}, {}):
        shutil.copy(mlflow_store.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    said = python(FILLS.replace("BEFORE", before), tmp_path, MLFLOW_TRACKING_URI=uri)
    reason = "disk I/O error"  # SQLite's words for a file that may not grow
    assert said == f"MLflow at {uri} cannot be used: {reason} (MLFLOW_TRACKING_URI names the store)\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory, mlflow_store):
    """Address of an MLflow server of its own on this machine, without an experiment."""
    folder = tmp_path_factory.mktemp("server")
    with track("align", {}, {}):  # a copy of a store is there at once, a new one takes seconds
        shutil.copy(mlflow_store.removeprefix("sqlite:///"), folder / "mlflow.db")
    copy = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    copy.rename_experiment(copy.get_experiment_by_name("diffsynth").experiment_id, "another")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), *store]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [*command, "--workers", "1"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def wait_for(address, process, log, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                assert answer.read() == b"OK"
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def test_a_server_receives_runs_without_a_word(server, tmp_path):
    code = (
        "from diffsynth.runs.tracking import track\n"
        "with track('train', {'train': {'steps': 3}}, {'model': 'lstm', 'block': 1024}) as run:\n"
        "    run.metrics({'loss': 0.25}, 7)\n    run.artifact('a.txt')\n"
        "    run.voice('a.txt', {'a': 1})"
    )
    (tmp_path / "a.txt").write_text("alpha")
    assert python(code, tmp_path, MLFLOW_TRACKING_URI=server, DIFFSYNTH_PIPELINE_RUN="r1") == ""
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("diffsynth")
    (run,) = client.search_runs(
        [experiment.experiment_id], "tags.pipeline_run = 'r1' and params.train.steps = '3'"
    )
    assert (run.info.status, run.info.run_name) == ("FINISHED", "lstm-1024")
    assert run.data.metrics == {"loss": 0.25}
    assert run.data.params == {"train.steps": "3"}
    copy = client.download_artifacts(run.info.run_id, "a.txt", str(tmp_path / ".."))
    assert Path(copy).read_text() == "alpha"
    (version,) = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    assert version.name == "diffsynth-lstm-1024"
    assert (version.run_id, version.description) == (run.info.run_id, '```json\n{\n  "a": 1\n}\n```')
    place = client.get_model_version_download_uri(version.name, version.version)
    assert place.startswith("mlflow-artifacts:/")
    assert not (tmp_path / "mlruns").exists()
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(("given", "tries", "at_the_end"), [(None, 6, 2), ("2", 3, 3)])
def test_a_server_that_dies_is_waited_for_once_and_for_a_time(server, given, tries, at_the_end, monkeypatch):
    """With MLflow's pauses, 4 s and twice as long each time, six tries take a minute; see below."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    if given is not None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", given)
    with door(server) as between:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{between.port}")
        counted = []
        with pytest.raises(UserError, match="cannot be used: "):
            lose(between, counted)
        assert [*counted, between.calls] == [tries, tries + at_the_end]
    assert os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES") == given


def lose(between, counted):
    """A stage whose server dies; counts how often it was asked until the stage gave up."""
    with track("align", {}, {}) as run:
        between.shut()
        try:
            run.tags({"a": 1})
        finally:
            counted.append(between.calls)


def test_a_server_that_dies_is_waited_for_about_a_minute(server):
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR
    from urllib3.util import Retry

    from diffsynth.runs.mlflow_store import PATIENT

    retry = Retry(
        int(PATIENT["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]),
        backoff_factor=MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.get(),
    )
    pauses = []
    while retry.total:
        retry = retry.increment("POST", "/", error=ConnectionResetError())
        pauses.append(retry.get_backoff_time())
    assert 30 < sum(pauses) < 90
