"""Which run a stage logs to: one for each voice, under one parent, whatever starts the stages."""

import json
from pathlib import Path

import pytest

from diffsynth.runs.tracking import track

VARIANT = {"model": "s6", "block": 512}
VOICE, RENDERS = "a" * 64, "b" * 64


@pytest.fixture(autouse=True)
def pipeline(monkeypatch, request):
    """Chooses the pipeline run; one of its own for every test."""

    def choose(name):
        monkeypatch.setenv("DIFFSYNTH_PIPELINE_RUN", f"{request.node.name} {name}")
        return f"{request.node.name} {name}"

    choose("first")
    return choose


def train(voice=VOICE, **params):
    with track("train", {"train": {"steps": 3, **params}, **VARIANT}, VARIANT) as run:
        for step in range(3):
            run.metrics({"loss": 3.0 - step}, step)
        run.tags({"voice": voice})
    return run.id


def infer(voice=VOICE, renders=RENDERS, steps=1, rtf=0.1):
    params = {"infer": {"steps": steps}, **VARIANT}
    with track("infer", params, VARIANT, reads={"voice": voice}) as run:
        run.metrics({"rtf": rtf})
        run.tags({"voice": voice, "renders": renders})
    return run.id


def evaluate(renders=RENDERS, f1=0.9):
    with track(
        "evaluate", {"evaluate": {"window": 5}, **VARIANT}, VARIANT, reads={"renders": renders}
    ) as run:
        run.metrics({"onset_f1": f1})
    return run.id


def test_one_run_holds_parameters_curve_speed_and_quality_of_a_voice(client, pipeline):
    assert train() == infer() == evaluate()
    run = client.get_run(evaluate())
    assert run.info.run_name == "s6-512"
    assert run.data.metrics == {"loss": 1.0, "rtf": 0.1, "onset_f1": 0.9}
    expected = {"train.steps": "3", "infer.steps": "1", "evaluate.window": "5", "model": "s6", "block": "512"}
    assert run.data.params == expected
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 3
    assert json.loads(run.data.tags["logged.infer"])["metrics"] == ["rtf"]
    assert run.data.tags["mlflow.source.name"] == "diffsynth evaluate"


def test_all_stages_hang_under_one_parent(client, pipeline):
    name = pipeline("second")
    voice = train()
    with track("align", {}, {}) as align, track("fit", {}, {}) as fit:
        pass
    parents = {client.get_run(each).data.tags["mlflow.parentRunId"] for each in (voice, align.id, fit.id)}
    (parent,) = parents
    stored = client.get_run(parent)
    assert stored.info.run_name == f"pipeline {name}"
    assert (stored.info.status, stored.data.tags["stage"]) == ("FINISHED", "pipeline")
    experiment = stored.info.experiment_id
    assert client.get_experiment(experiment).tags["mlflow.experimentKind"] == "custom_model_development"
    with pytest.raises(RuntimeError), track("compare", {}, {}):
        raise RuntimeError
    assert client.get_run(parent).info.status == "FAILED"


def test_stages_of_other_processes_and_after_an_interruption_find_their_run(client, pipeline):
    first = train("1" * 64)
    pipeline("the next dvc repro")
    with pytest.raises(KeyboardInterrupt), track("infer", {}, VARIANT, reads={"voice": "1" * 64}) as stopped:
        raise KeyboardInterrupt
    assert stopped.id == first
    assert client.get_run(first).info.status == "KILLED"
    pipeline("one more")
    assert infer("1" * 64, "2" * 64) == first
    assert evaluate("2" * 64) == first
    assert client.get_run(first).info.status == "FINISHED"


def test_voices_are_told_apart_by_their_digest(client):
    one, other = train("3" * 64), train("4" * 64)
    assert infer("3" * 64, "5" * 64) == one
    assert infer("4" * 64, "6" * 64) == other
    assert evaluate("6" * 64) == other


def test_a_stage_that_runs_again_gets_a_run_that_is_whole_and_leaves_the_old_one_alone(client, pipeline):
    old = train("7" * 64)
    infer("7" * 64, "8" * 64)
    evaluate("8" * 64, 0.5)
    pipeline("with two steps")
    new = infer("7" * 64, "9" * 64, steps=2, rtf=0.2)
    assert evaluate("9" * 64, 0.7) == new != old
    run = client.get_run(new)
    assert run.data.metrics == {"loss": 1.0, "rtf": 0.2, "onset_f1": 0.7}
    assert run.data.params["train.steps"] == "3"
    assert run.data.params["infer.steps"] == "2"
    assert [metric.step for metric in client.get_metric_history(new, "loss")] == [0, 1, 2]
    assert [metric.value for metric in client.get_metric_history(new, "rtf")] == [0.2]
    assert client.get_run(old).data.metrics == {"loss": 1.0, "rtf": 0.1, "onset_f1": 0.5}


def test_what_nobody_has_trained_here_gets_a_run_of_its_own(client):
    run = client.get_run(infer("c" * 64, "d" * 64))
    assert run.data.metrics == {"rtf": 0.1}
    assert run.info.run_name == "s6-512"


def test_stages_that_begin_at_once_share_their_parent(client, pipeline):
    import threading

    name = pipeline("parallel")
    ready, found = threading.Barrier(4), []

    def stage(number):
        ready.wait()
        with track(f"stage{number}", {}, {}) as run:
            found.append(client.get_run(run.id).data.tags["mlflow.parentRunId"])

    threads = [threading.Thread(target=stage, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    experiment = client.get_run(found[0]).info.experiment_id
    alive = client.search_runs([experiment], f"tags.pipeline_run = '{name}' and tags.stage = 'pipeline'")
    assert [run.info.run_id for run in alive] == found[:1]


def test_the_data_set_is_an_input_and_the_voice_a_model_with_its_card(client, tmp_path):
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"dataset": "demo", "splits": {}}))
    (tmp_path / "s6.safetensors").write_bytes(b"weights")
    with track("train", {}, VARIANT) as run:
        run.dataset(index, "training")
        run.voice(tmp_path / "s6.safetensors", {"data": {"index.json": "0"}})
    stored = client.get_run(run.id)
    (given,) = stored.inputs.dataset_inputs
    assert (given.dataset.name, len(given.dataset.digest)) == ("demo", 16)
    assert given.tags[0].value == "training"
    (model,) = stored.outputs.model_outputs
    assert client.get_logged_model(model.model_id).name == "s6-512"
    card = client.download_artifacts(run.id, "voice/card.json", str(tmp_path))
    assert json.loads(Path(card).read_text()) == {"data": {"index.json": "0"}}
    assert {each.path for each in client.list_artifacts(run.id, "voice")} == {
        *("voice/card.json", "voice/s6.safetensors")
    }
