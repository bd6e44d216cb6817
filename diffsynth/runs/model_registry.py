"""Voices in MLflow's model registry: a registered model for each model and block, a version for each run."""

import json
import re
from collections.abc import Mapping
from typing import Any

LENGTH = 5000  # characters of a description, MLflow's limit


def register(
    client: Any, name: str, model_id: str, run_id: str, tags: Mapping[str, str], card: Mapping[str, Any]
) -> None:
    """Make a model that a run has logged the next version of a registered model, which is made if needed.

    A store without a registry is left as it is.

    Args:
        client: of MLflow.
        name: of the registered model; what a name cannot hold becomes "-".
        model_id: of the logged model.
        run_id: of the run that logged it.
        tags: of the version.
        card: shown as its description.
    """
    from mlflow.exceptions import MlflowException

    name = re.sub("[/:]", "-", name)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code == "FEATURE_DISABLED":
            return
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    client.create_model_version(
        name, f"models:/{model_id}", run_id, dict(tags), None, described(card), None, model_id=model_id
    )


def described(card: Mapping[str, Any]) -> str:
    """A card as Markdown, of a length that MLflow takes."""
    text = json.dumps(card, indent=2)[: LENGTH - 20]
    return f"```json\n{text}\n```"
