from pathlib import Path

import pytest
from mlflow import MlflowClient

from diffsynth.errors import UserError
from pipeline.params import load_params
from pipeline.stage import require, stage

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml", {"s6.units": 48, "infer.seed": 9})


def test_a_stage_logs_its_sections_and_its_variant(mlflow_store):
    with stage("infer", PARAMS, ["infer", "s6"], "s6", 2048) as run:
        pass
    stored = MlflowClient(mlflow_store).get_run(run.id)
    expected = {"model": "s6", "block": "2048", "s6.units": "48", "infer.seed": "9"}
    assert expected.items() <= stored.data.params.items()
    assert {name.partition(".")[0] for name in stored.data.params} == {"model", "block", "s6", "infer"}
    tags = {"stage": "infer", "model": "s6", "block": "2048"}
    assert tags.items() <= stored.data.tags.items()
    assert stored.info.run_name == "s6-2048"


def test_a_stage_without_a_variant_has_the_name_of_the_stage_and_no_variant(mlflow_store):
    with stage("align", PARAMS, ["align"]) as run:
        pass
    stored = MlflowClient(mlflow_store).get_run(run.id)
    assert stored.info.run_name == "align"
    assert stored.data.params["align.max_offset"] == "3.0"
    assert not {"model", "block"} & (stored.data.params.keys() | stored.data.tags.keys())


def test_a_stage_continues_a_run(mlflow_store):
    with stage("train", PARAMS, ["train"], "s6", 512) as first:
        pass
    with stage("train", PARAMS, ["train"], "s6", 512, run_id=first.id) as second:
        pass
    assert second.id == first.id


def test_what_an_earlier_stage_writes_is_required(tmp_path):
    assert require(tmp_path, "align") == tmp_path
    with pytest.raises(UserError) as error:
        require(tmp_path / "index.json", "align")
    assert str(error.value) == f"{tmp_path / 'index.json'} does not exist; run `diffsynth align` first"
