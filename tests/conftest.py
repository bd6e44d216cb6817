"""One MLflow store for the whole session: making one takes seconds, and none belongs in the repository."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def mlflow_store(tmp_path_factory):
    """Address of the SQLite store that every command in the tests logs to."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("MLFLOW_", "DIFFSYNTH_")):
                patch.delenv(name)
        uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri
