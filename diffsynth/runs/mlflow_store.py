"""Where MLflow keeps runs: opening the store, its one experiment, and its errors as one line."""

import logging
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from diffsynth.errors import UserError
from diffsynth.runs.project import project_root

EXPERIMENT = "diffsynth"
SQLITE = "sqlite:///"
FILE = "mlflow.db"  # of the default store
# MLflow tries for four minutes by default, and again at the end of a run. A mistyped address and the end of a
# run whose server is gone have no use of that; while a stage works, a minute lets a server start anew.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
PATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
# MLflow 3 opens an experiment of no kind in its view for language models, which is empty here.
KIND = ("mlflow.experimentKind", "custom_model_development")
# It logs errors of the database with their traceback, and then raises them: `store_errors` has the one line.
LOGS_WHAT_IT_RAISES = "mlflow.store.db.utils"


@contextmanager
def opened(uri: str) -> Iterator[str | None]:
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


def new_client(uri: str) -> Any:
    """MLflow's client of a store, without telemetry and without tracebacks of what it raises."""
    # Both are read when mlflow is imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient

    logging.getLogger(LOGS_WHAT_IT_RAISES).setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri)


def default_uri() -> str:
    """The store of the project, relative to the current folder: an absolute path may hold "?" or "#"."""
    return f"{SQLITE}{os.path.relpath(project_root() / FILE)}"


def experiment_id(client: Any, artifacts: str | None, uri: str) -> str:
    """The experiment, made where there is none, of the kind that MLflow shows as training.

    Raises:
        UserError: it is deleted.
    """
    from mlflow.exceptions import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        with suppress(MlflowException):  # another stage made it in the meantime
            return str(client.create_experiment(name, artifacts, tags=dict([KIND])))
        experiment = client.get_experiment_by_name(name)
    number = str(experiment.experiment_id)
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"the MLflow experiment {name} at {_public(uri)} is deleted: restore it "
            f"(MLFLOW_TRACKING_URI={_public(uri)} mlflow experiments restore --experiment-id {number}) "
            "or name another one in MLFLOW_EXPERIMENT_NAME"
        )
    if KIND[0] not in experiment.tags:  # of an earlier version; whoever has chosen a kind keeps it
        client.set_experiment_tag(number, *KIND)
    return number


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
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
    """The error of the system or of SQLite behind one of MLflow; its message is the shortest."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError | sqlite3.Error):
            error = cause
        cause = cause.__cause__ or cause.__context__
    return error


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, for the time of the body."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the dozens of lines that the first use of a SQLite store logs."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
