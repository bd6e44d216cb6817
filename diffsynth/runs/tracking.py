"""MLflow runs, one per stage: the only module that knows MLflow.

The store is `sqlite:///mlflow.db` in the folder of the project, unless MLFLOW_TRACKING_URI names another
one, and the experiment `diffsynth`, unless MLFLOW_EXPERIMENT_NAME names another one; artifacts lie in
`mlruns` beside that file, or where a server puts them. Only MLflow's client is used, never its fluent
interface, because an exported MLFLOW_RUN_ID redirects the latter to a run that belongs to somebody else.
"""

import logging
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from diffsynth.errors import UserError, printable
from diffsynth.runs.project import project_root

EXPERIMENT = "diffsynth"
SQLITE = "sqlite:///"
FILE = "mlflow.db"  # of the default store
FLUSH_SECONDS = 5.0  # how old a buffered metric may get
METRICS_PER_BATCH, PAIRS_PER_BATCH, VALUE_LENGTH = 1000, 100, 6000  # MLflow's limits
# MLflow tries for minutes by default. That suits a long training, not a mistyped address.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


class Run:
    """One MLflow run that is under way. A call to the store that fails raises UserError."""

    def __init__(self, client: Any, run_id: str, uri: str) -> None:
        self.id = run_id
        self._client, self._uri = client, uri
        self._metrics: list[Any] = []
        self._flushed = time.monotonic()

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers at `step`; buffered, because one call a number costs 4 ms on SQLite."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._metrics += [Metric(name, float(value), now, step or 0) for name, value in values.items()]
        if len(self._metrics) >= METRICS_PER_BATCH or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; nested mappings become dotted names, long values are cut."""
        from mlflow.entities import Param

        self._log("params", [Param(name, _cut(value)) for name, value in _flatten(values)])

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags; a tag that exists is overwritten."""
        from mlflow.entities import RunTag

        self._log("tags", [RunTag(name, _cut(value)) for name, value in values.items()])

    def artifact(self, path: str | Path) -> None:
        """Copy a file, or a folder with what it holds, to the run.

        Raises:
            UserError: there is no such file.
        """
        if not Path(path).exists():
            raise UserError(f"{path} does not exist")
        with _store_errors(self._uri):
            if Path(path).is_dir():
                self._client.log_artifacts(self.id, str(path), Path(path).name)
            else:
                self._client.log_artifact(self.id, str(path))

    def flush(self) -> None:
        """Send the metrics that are buffered."""
        metrics, self._metrics = self._metrics, []
        self._log("metrics", metrics, METRICS_PER_BATCH)
        self._flushed = time.monotonic()

    def end(self, status: str) -> None:
        """Close the run with one of MLflow's states: FINISHED, FAILED, KILLED."""
        self.flush()
        with _store_errors(self._uri):
            self._client.set_terminated(self.id, status)

    def _log(self, kind: str, entities: Sequence[Any], size: int = PAIRS_PER_BATCH) -> None:
        with _store_errors(self._uri):
            for start in range(0, len(entities), size):
                self._client.log_batch(self.id, **{kind: entities[start : start + size]})


@contextmanager
def track(
    stage: str, params: Mapping[str, Any], tags: Mapping[str, Any], run_id: str | None = None
) -> Iterator[Run]:
    """A run of `stage`: FINISHED when the body ends, FAILED if it raises, KILLED if interrupted.

    Args:
        stage: name of the stage.
        params: logged under dotted names; not logged again when a run is continued.
        tags: logged beside the stage, the commit and the pipeline run; `model` and `block` also
            name the run.
        run_id: of the run to continue. One that the store does not know is replaced by a new run.

    Raises:
        UserError: the store cannot be reached or written, or its experiment is deleted, before the body
            starts.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or _default_uri()
    name = stage if "model" not in tags else f"{stage} {tags['model']}-{tags['block']}"
    with _environment(IMPATIENT), _quiet(), _store_errors(uri):
        with _opened(uri) as artifacts:
            client = _client(uri)
            run = Run(client, _start(client, name, run_id, artifacts, uri), uri)
        if run.id != run_id:
            run.params(params)
        run.tags({"stage": stage, "pipeline_run": pipeline_run(), **_commit(), **tags})
    try:
        yield run
    except BaseException as error:
        with suppress(UserError):  # what went wrong in the body is what the user has to see
            run.end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    run.end("FINISHED")


def pipeline_run() -> str:
    """Identifier that all stages of one `dvc repro` share: its start time and process id.

    DIFFSYNTH_PIPELINE_RUN replaces it. A stage that DVC did not start is a run of its own.
    """
    given = os.environ.get("DIFFSYNTH_PIPELINE_RUN")
    if given:
        return given
    process = psutil.Process()
    dvc = next((parent for parent in process.parents() if _is_dvc(parent)), process)
    return f"{datetime.fromtimestamp(dvc.create_time()):%Y%m%d-%H%M%S}-{dvc.pid}"


def _is_dvc(process: psutil.Process) -> bool:
    """Whether a process is `dvc ...`, `python .../dvc ...` or `python -m dvc ...`."""
    try:
        words = process.cmdline()[:3]
    except psutil.Error:
        return False
    programs = [re.sub(r"\.exe$", "", Path(word).name) for word in words[:2]]
    return "dvc" in programs or words[1:] == ["-m", "dvc"]


def _commit() -> dict[str, str]:
    """Tags of the commit that the current folder is at; none outside a git repository.

    What the stages themselves write into the repository does not make it dirty.
    """
    own = [":(top,exclude)dvc.lock", ":(top,exclude)results"]
    try:
        commit, changes = (
            subprocess.run(["git", *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", ":/", *own])
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    # The second name is the one that MLflow's pages show as "source version".
    return {"commit": commit, "dirty": str(bool(changes)).lower(), "mlflow.source.git.commit": commit}


@contextmanager
def _opened(uri: str) -> Iterator[str | None]:
    """Check and lock a SQLite store; yield where its artifacts belong, None for other stores.

    MLflow tries for two minutes to open a file that cannot be opened, two processes that make the
    same new store at once break it, and the default place of artifacts depends on the folder in
    which the first run happens to start.
    """
    if not uri.startswith(SQLITE):
        yield None
        return
    file = Path(os.path.abspath(uri.removeprefix(SQLITE).partition("?")[0]))
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=120):
        with closing(sqlite3.connect(file, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # fails where nothing can be written
        yield (file.parent / "mlruns").as_uri()


def _client(uri: str) -> Any:
    # Both are read when mlflow is imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _default_uri() -> str:
    """The store of the project, relative to the current folder: an absolute path may hold "?" or "#"."""
    return f"{SQLITE}{os.path.relpath(project_root() / FILE)}"


def _start(client: Any, name: str, run_id: str | None, artifacts: str | None, uri: str) -> str:
    from mlflow.exceptions import MlflowException

    if run_id is not None:
        with suppress(MlflowException):
            client.update_run(run_id, status="RUNNING")
            return run_id
    return str(client.create_run(_experiment(client, artifacts, uri), run_name=name).info.run_id)


def _experiment(client: Any, artifacts: str | None, uri: str) -> str:
    from mlflow.exceptions import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        with suppress(MlflowException):  # another stage made it in the meantime
            return str(client.create_experiment(name, artifacts))
        experiment = client.get_experiment_by_name(name)
    number = str(experiment.experiment_id)
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"the MLflow experiment {name} at {_public(uri)} is deleted: restore it "
            f"(MLFLOW_TRACKING_URI={_public(uri)} mlflow experiments restore --experiment-id {number}) "
            "or name another one in MLFLOW_EXPERIMENT_NAME"
        )
    return number


def _cut(value: Any) -> str:
    return printable(str(value))[:VALUE_LENGTH]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@contextmanager
def _store_errors(uri: str) -> Iterator[None]:
    """One line for whatever a store raises, without the password that an address may hold."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # MLflow lets errors of SQLAlchemy, requests and the disk through
        reason = " ".join(str(_origin(error)).split())[:300]
        line = _public(f"MLflow at {uri} cannot be used: {reason}")
        raise UserError(f"{line} (MLFLOW_TRACKING_URI names the store)") from error


def _public(text: str) -> str:
    """A text without the password that an address in it may hold."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def _origin(error: BaseException) -> BaseException:
    """The system's or SQLite's own error behind one of MLflow, which says it shortest."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError | sqlite3.Error):
            error = cause
        cause = cause.__cause__ or cause.__context__
    return error


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, for the time of the body."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the dozens of lines that the first use of a SQLite store logs."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
