"""The real train, infer and evaluate of one voice in one MLflow run, started one by one."""

from mlflow import MlflowClient

from diffsynth.runs.files import read_json, sha256


def test_the_stages_of_a_voice_meet_in_one_run(project, trained, mlflow_store):
    variant = ["--model", "s6", "--block", 1024]
    assert project.run("evaluate", *variant, "--aligned", project.data / "aligned", folder=trained) == 0
    client = MlflowClient(mlflow_store)
    experiment = client.get_experiment_by_name("diffsynth").experiment_id
    voice = sha256(trained / "models" / "1024" / "s6.safetensors")
    run = client.search_runs([experiment], f"tags.voice = '{voice}' and tags.stage = 'evaluate'")[0]
    report = read_json(trained / "results" / "metrics" / "1024" / "s6.json")
    timings = read_json(trained / "results" / "timings" / "1024" / "s6.json")
    assert run.data.metrics["onset_f1"] == report["metrics"]["onset_f1"]
    assert run.data.metrics["rtf"] == timings["rtf"]
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 8
    assert {"train.steps", "s6.units", "infer.steps", "evaluate.onset_tolerance"} <= set(run.data.params)
    uses = {each.tags[0].value: each.dataset.name for each in run.inputs.dataset_inputs}
    assert uses == {"training": "demo", "testing": "demo"}
    assert {each.path for each in client.list_artifacts(run.info.run_id)} == {
        *("voice", "audio", "spectrograms", "validation", "loss.csv", "timings", "metrics")
    }
    assert [each.path for each in client.list_artifacts(run.info.run_id, "audio")] == ["audio/music_12.wav"]
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["stage"] == "pipeline"
