"""Voices in MLflow's model registry."""

import hashlib
import json
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode

from diffsynth.errors import UserError
from diffsynth.runs.model_registry import described, register
from diffsynth.runs.tracking import track


def train(folder, content, card):
    (folder / "s6.safetensors").write_bytes(content)
    with track("train", {}, {"model": "s6", "block": 512}) as run:
        run.voice(folder / "s6.safetensors", card)
    return run.id


def test_every_training_is_a_version_with_its_file_card_and_origin(
    client, mlflow_store, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of the team/mine")
    runs = [train(tmp_path, content, {"train": {"steps": n}}) for n, content in enumerate((b"one", b"two"))]
    versions = client.search_model_versions(
        "name = 'of the team-mine-s6-512'", order_by=["version_number ASC"]
    )
    assert [(int(version.version), version.run_id) for version in versions] == list(
        zip((1, 2), runs, strict=True)
    )
    for version, content in zip(versions, (b"one", b"two"), strict=True):
        assert version.tags["voice"] == hashlib.sha256(content).hexdigest()
        assert (version.tags["model"], version.tags["block"]) == ("s6", "512")
        assert version.tags["pipeline_run"] == client.get_run(version.run_id).data.tags["pipeline_run"]
    assert json.loads(versions[1].description.strip("`json\n")) == {"train": {"steps": 1}}
    place = client.get_model_version_download_uri(versions[1].name, "2")
    file = download_artifacts(f"{place}/s6.safetensors", dst_path=str(tmp_path / "copy"))
    assert Path(file).read_bytes() == b"two"


def test_long_cards_fit():
    assert len(described({"a": "b" * 9000})) == 5000 - 20 + len("```json\n\n```")


class Registry:
    """A store whose registry answers with an error."""

    def __init__(self, code):
        self.code, self.versions = code, []

    def create_registered_model(self, name):
        raise MlflowException(name, ErrorCode.Value(self.code))

    def create_model_version(self, name, *_, **__):
        self.versions.append(name)


@pytest.mark.parametrize(
    ("code", "versions"), [("FEATURE_DISABLED", []), ("RESOURCE_ALREADY_EXISTS", ["a-b"])]
)
def test_a_store_may_have_no_registry_or_know_the_model(code, versions):
    registry = Registry(code)
    register(registry, "a:b", "m-1", "r", {}, {})
    assert registry.versions == versions


def test_other_errors_of_a_registry_are_one_line(client, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "diffsynth.runs.tracking.register", lambda *_: register(Registry("INTERNAL_ERROR"), *_[1:])
    )
    with pytest.raises(UserError, match=r"^MLflow at sqlite.* cannot be used: diffsynth-s6-512 "):
        train(tmp_path, b"one", {})
