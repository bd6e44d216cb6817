"""The life of a training run: more steps after its end, another voice as its beginning, faults on its way."""

import dataclasses
import json
import math
import os
import shutil

import numpy as np
import pytest
import soundfile
import torch
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from safetensors import safe_open

from diffsynth.errors import UserError
from diffsynth.runs.files import sha256
from diffsynth.synthesis import weights
from diffsynth.synthesis.weights import check_saved, load_voice, read_card, save_voice
from diffsynth.training.gain_batches import GainExamples
from pipeline import train_run
from pipeline.train_resume import first_voice

VARIANT = ["--model", "lstm", "--block", 1024]


def weights_of(folder):
    return folder / "models" / "1024" / "lstm.safetensors"


def finished(folder):
    return folder / "checkpoints" / "finished" / "1024" / "lstm.safetensors"


def checkpoint(folder):
    return folder / "checkpoints" / "1024" / "lstm.safetensors"


def numbers_of(path):
    with safe_open(str(path), framework="pt") as file:
        return json.loads(file.metadata()["numbers"])


@pytest.fixture
def train(project, tmp_path, capsys):
    """Trains in a folder of its own; returns the exit code and what was said."""

    def run(*options, folder=tmp_path):
        code = project.run("train", *VARIANT, "--data-dir", project.data, *options, folder=folder)
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def ended(trained, tmp_path):
    """A copy of a run of 8 steps that has ended."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_run_that_has_ended_goes_on_where_more_steps_are_asked_for(ended, train, mlflow_store):
    before = numbers_of(finished(ended))
    code, out, _ = train("--steps", 12)
    assert code == 0
    assert out.startswith("continuing lstm-1024 after step 8, though train.steps is 12 and was 8\n")
    after = numbers_of(finished(ended))
    assert (before["progress"]["step"], after["progress"]["step"]) == (8, 12)
    assert [row["step"] for row in after["progress"]["history"]] == [4, 8, 12]
    assert after["progress"]["history"][:2] == before["progress"]["history"]
    assert read_card(weights_of(ended))["train"]["steps"] == 12
    client = MlflowClient(mlflow_store)
    assert client.get_run(after["run_id"]).data.tags["continued_though"] == "train.steps is 12 and was 8"
    history = client.get_metric_history(after["run_id"], "learning_rate")
    rates = {metric.step: metric.value for metric in history if metric.step > 8}
    # From where it is on, the cosine of the longer run.
    assert rates == pytest.approx(
        {step: 4e-3 * (1 + math.cos(math.pi * (step - 1) / 12)) / 2 for step in range(9, 13)}
    )


def test_only_steps_that_are_asked_for_go_on_from_an_end(ended, trained, train):
    text = (ended / "params.yaml").read_text()
    (ended / "params.yaml").write_text(text.replace("steps: 8\n", "steps: 9\n"))
    code, out, _ = train()  # as `dvc repro` does, whose results may not depend on what was trained before
    assert (code, "continuing" in out) == (0, False)
    (ended / "params.yaml").write_text(text)
    code, out, _ = train("--steps", 8)
    assert (code, "continuing" in out) == (0, False)
    assert weights_of(ended).read_bytes() == weights_of(trained).read_bytes()
    code, out, _ = train("--steps", 9, "--seed", 1)
    path = os.path.join("checkpoints", "finished", "1024", "lstm.safetensors")
    assert out.startswith(f"beginning anew, not at {path}: train.seed is 1 and was 0\n")


def test_a_voice_that_is_not_what_was_written_keeps_the_checkpoint(train, tmp_path, monkeypatch):
    written = weights.save_file

    def faulty(tensors, path, metadata):
        written(
            {name: value + 1 if value.is_floating_point() else value for name, value in tensors.items()},
            path,
            metadata,
        )

    monkeypatch.setattr(weights, "save_file", faulty)
    code, _, error = train()
    path = os.path.join("models", "1024", "lstm.safetensors")
    assert (code, error) == (
        2,
        f"diffsynth: {path} does not hold what was written to it: the disk may be faulty\n",
    )
    assert numbers_of(checkpoint(tmp_path))["progress"]["step"] == 8
    monkeypatch.undo()
    code, out, _ = train()
    assert code == 0
    assert out.startswith("continuing lstm-1024 after step 8\n")
    assert not checkpoint(tmp_path).exists()


def test_a_saved_voice_is_compared_bit_by_bit(make_voice, tmp_path):
    voice, path = make_voice("s6"), tmp_path / "s6.safetensors"
    save_voice(path, voice, {})
    check_saved(path, voice)
    other = make_voice("s6")
    with torch.no_grad():
        weight = next(other.denoiser.parameters())
        weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(math.inf))
    for wrong in (other, make_voice("s6", block=1024), make_voice("lstm")):
        with pytest.raises(UserError, match="does not hold what was written"):
            check_saved(path, wrong)


def test_fine_tuning_begins_with_the_weights_and_the_normaliser_of_a_voice(trained, train, project, tmp_path):
    first = weights_of(trained)
    changed = load_voice(first)
    changed.normaliser.scale[:] *= 2  # as of other recordings
    save_voice(tmp_path / "first.safetensors", changed, {})
    code, _, _ = train("--init-from", tmp_path / "first.safetensors", "--learning-rate", 0)
    assert code == 0
    voice = load_voice(weights_of(tmp_path))
    for name, value in load_voice(first).denoiser.state_dict().items():
        assert torch.equal(voice.denoiser.state_dict()[name], value), name
    np.testing.assert_array_equal(voice.normaliser.scale, changed.normaliser.scale)
    assert read_card(weights_of(tmp_path))["init_from"] == {
        "name": "first.safetensors",
        "sha256": sha256(tmp_path / "first.safetensors"),
    }
    code, out, _ = train("--init-from", first, "--steps", 9, "--learning-rate", 0)
    assert "beginning anew" in out
    assert "--init-from has changed" in out


def test_gains_that_were_learned_at_one_block_size_go_on_at_another(trained, train, tmp_path):
    first = weights_of(trained)
    code, _, _ = train("--block", 4096, "--init-from", first, "--learning-rate", 0)
    assert code == 0
    voice = load_voice(tmp_path / "models" / "4096" / "lstm.safetensors")
    assert voice.config.block == 4096
    for name, value in load_voice(first).denoiser.state_dict().items():
        assert torch.equal(voice.denoiser.state_dict()[name], value), name


def test_the_network_of_a_unet_belongs_to_its_block_size(make_voice, tmp_path):
    path = tmp_path / "voice.safetensors"
    save_voice(path, make_voice("unet", 512), {})
    config = dataclasses.replace(load_voice(path).config, block=1024)
    with pytest.raises(UserError, match="block is 512 there and 1024 here"):
        first_voice(path, config, tmp_path / "out.safetensors")


def test_another_kind_of_voice_is_refused_by_its_first_difference(trained, refuse, project):
    options = ["train", *VARIANT, "--data-dir", project.data, "--init-from"]
    other = trained / "models" / "1024" / "s6.safetensors"
    assert refuse(*options, other) == f"{other} cannot be gone on from: model is s6 there and lstm here"
    assert refuse(*options, weights_of(trained), "--units", 13) == (
        f"{weights_of(trained)} cannot be gone on from: network.units is 12 there and 13 here"
    )
    assert refuse(*options, "nowhere.safetensors") == "nowhere.safetensors does not exist"
    assert refuse(*options, trained) == f"{trained} is a folder, not a voice"
    assert refuse(*options, weights_of(trained), "--model-save-dir", trained / "models") == (
        f"{weights_of(trained)} would be replaced by what is made of it; choose another --model-save-dir"
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("bands: 20", "bands: 24", "written with bands 20, and the parameters say 24; run"),
        ("knee: 3000.0", "knee: 700.0", "written with knee 3000.0, and the parameters say 700.0"),
        (
            "sample_rate: 24000",
            "sample_rate: 16000",
            "written with sample_rate 24000, and the parameters say 16000",
        ),
    ],
)
def test_features_of_other_parameters_are_refused(project, refuse, tmp_path, old, new, says):
    text = (tmp_path / "params.yaml").read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new, 1))
    assert says in refuse("train", *VARIANT, "--data-dir", project.data)
    if "sample_rate" in old:
        shards, piano = project.data / "shards", project.data / "fit" / "piano.safetensors"
        assert f"{shards} was {says}" in refuse("features", "--shards", shards, "--fit", piano)
        assert says in refuse("train", "--model", "unet", "--block", 1024, "--data-dir", project.data)


def test_a_shard_that_cannot_be_read_costs_no_step(trained, train, tmp_path, monkeypatch):
    drawn = GainExamples.draw

    def draw(self, step, *rows):
        if step == 5:
            raise UserError("features/train-000001.tar is damaged")
        return drawn(self, step, *rows)

    monkeypatch.setattr(GainExamples, "draw", draw)
    code, _, error = train()
    assert (code, error) == (2, "diffsynth: features/train-000001.tar is damaged\n")
    assert numbers_of(checkpoint(tmp_path))["progress"]["step"] == 5
    monkeypatch.undo()
    assert train()[0] == 0
    assert weights_of(tmp_path).read_bytes() == weights_of(trained).read_bytes()


def test_diverged_training_ends_at_its_last_good_step_and_goes_on_more_slowly(train, tmp_path, monkeypatch):
    drawn = GainExamples.draw

    def draw(self, step, *rows):
        batch = drawn(self, step, *rows)
        if step >= 3:
            batch.cond[:] = math.inf
        return batch

    monkeypatch.setattr(GainExamples, "draw", draw)
    code, _, error = train("--steps", 20)
    assert code == 2
    assert error.startswith("diffsynth: training diverged: in steps 4 to 13 the loss or its gradients ")
    assert numbers_of(checkpoint(tmp_path))["progress"]["step"] == 3
    monkeypatch.undo()
    code, out, _ = train("--steps", 20, "--learning-rate", 0.001, "--resume-anyway")
    assert code == 0
    assert out.startswith(
        "continuing lstm-1024 after step 3, though train.learning_rate is 0.001 and was 0.004\n"
    )
    assert math.isfinite(numbers_of(finished(tmp_path))["progress"]["best"])


def test_a_folder_of_checkpoints_that_cannot_be_written_is_told_before_the_first_step(
    refuse, project, tmp_path
):
    (tmp_path / "checkpoints").write_text("")
    error = refuse("train", *VARIANT, "--data-dir", project.data)
    assert error.startswith(f"cannot write {os.path.join('checkpoints', '1024', 'lstm.safetensors')}: ")


def test_the_excerpt_is_kept_as_audio_and_as_a_picture(
    project, train, tmp_path, mlflow_store, tmp_path_factory
):
    assert train()[0] == 0
    run_id = numbers_of(finished(tmp_path))["run_id"]
    place = tmp_path_factory.mktemp("artifacts")
    folder = download_artifacts(
        run_id=run_id, artifact_path="validation", dst_path=str(place), tracking_uri=mlflow_store
    )
    assert sorted(os.listdir(folder)) == ["prediction.flac", "recording.flac", "spectrogram.png"]
    recording, rate = soundfile.read(os.path.join(folder, "recording.flac"))
    aligned, _ = soundfile.read(project.data / "aligned" / "music_3.flac", frames=rate)
    np.testing.assert_allclose(recording, aligned, atol=2**-15)  # stream_seconds: 1.0
    prediction, _ = soundfile.read(os.path.join(folder, "prediction.flac"))
    assert len(prediction) == len(recording)
    level = 10 * np.log10(np.mean(prediction**2) / np.mean(recording**2))
    streamed = [row["streamed_level_db"] for row in numbers_of(finished(tmp_path))["progress"]["history"]]
    assert min(abs(level - each) for each in streamed) < 0.01
    with open(os.path.join(folder, "spectrogram.png"), "rb") as file:
        assert file.read(4) == b"\x89PNG"


def test_a_precision_that_was_measured_is_kept(train, tmp_path, monkeypatch):
    monkeypatch.setattr(train_run, "faster_precision", lambda trainer: ("bfloat16", 1.25))
    code, out, _ = train("--steps", 1, "--precision", "fastest")
    assert (code, out.splitlines()[0]) == (0, "bfloat16, 1.25 times as fast as the other here")
    assert numbers_of(finished(tmp_path))["precision"] == "bfloat16"
    monkeypatch.setattr(train_run, "faster_precision", lambda trainer: ("float32", 1.25))
    code, out, _ = train("--steps", 2, "--precision", "fastest")
    assert (code, numbers_of(finished(tmp_path))["precision"]) == (0, "bfloat16")
    assert "times as fast" not in out
    code, out, _ = train("--steps", 3, "--precision", "float32")
    assert (code, out.splitlines()[0].rpartition(", ")[2]) == (0, "in float32 after bfloat16")
