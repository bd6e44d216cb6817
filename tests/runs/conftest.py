"""What tests of runs share."""

import pytest
from mlflow import MlflowClient


@pytest.fixture
def client(mlflow_store):
    return MlflowClient(mlflow_store)
