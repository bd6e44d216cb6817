import json
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from diffsynth.audio.files import write_audio
from diffsynth.errors import UserError
from diffsynth.evaluation.evaluating import evaluate_renders, round_values
from diffsynth.evaluation.registry import evaluate_pair
from diffsynth.runs.files import write_json
from pipeline.app import main
from pipeline.params import load_params

RATE = 24000
CONFIG = load_params().evaluate


def notes(seed, seconds=2.0):
    """Decaying tones, one every half second."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    signal = np.zeros_like(time)
    for onset in np.arange(0.25, seconds, 0.5):
        age = np.maximum(time - onset, 0.0)
        signal += 0.2 * np.sin(2 * np.pi * random.uniform(200, 900) * age) * np.exp(-6 * age)
    return signal.astype("f4")


@pytest.fixture
def folders(tmp_path):
    """Two usable test performances, one rejected, one of another split; renders of the first two."""
    aligned, renders = tmp_path / "aligned", tmp_path / "renders" / "512" / "lstm"
    rows = [("b", "test", "ok"), ("a", "test", "ok"), ("c", "test", "rejected"), ("d", "train", "ok")]
    performances = [{"name": n, "split": split, "status": status} for n, split, status in rows]
    write_json(aligned / "index.json", {"sample_rate": RATE, "performances": performances})
    for seed, name in enumerate("ab"):
        write_audio(aligned / f"{name}.flac", notes(seed), RATE)
        write_audio(renders / f"{name}.wav", 0.5 * notes(seed + (name == "b")), RATE)
    return tmp_path


def run(folders, figures="figures", **options):
    renders, report = folders / "renders" / "512" / "lstm", folders / "m" / "lstm.json"
    return evaluate_renders(
        folders / "aligned", renders, "lstm", 512, CONFIG, report, folders / figures, **options
    )


def leftovers(folders):
    return [path for path in folders.rglob("*") if path.name.startswith(".part")]


def test_processes_change_nothing(folders):
    assert run(folders, "one", workers=1) == run(folders, "two", workers=2)
    one, two = (sorted((folders / name).iterdir()) for name in ("one", "two"))
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_report(folders):
    (folders / "figures").mkdir()
    for name in ("stale.png", "performances.json"):  # of an earlier call
        (folders / "figures" / name).touch()
    report = run(folders)
    assert json.loads((folders / "m" / "lstm.json").read_text()) == report
    assert list(report) == ["model", "block", "sample_rate", "metrics"]
    assert (report["model"], report["block"], report["sample_rate"]) == ("lstm", 512, RATE)
    performances = json.loads((folders / "figures" / "performances.json").read_text())
    assert list(performances) == ["a", "b"]
    a, b = performances.values()
    assert (a["onset_f1"], a["pitch_accuracy"]) == (1.0, 1.0)  # the right notes, at half the level
    assert a["level_difference_db"] == pytest.approx(6.02, abs=0.01)
    assert b["pitch_accuracy"] < 0.5 < b["onset_f1"]  # other notes at the same times
    for name, value in report["metrics"].items():
        assert value == pytest.approx((a[name] + b[name]) / 2, rel=1e-4), name
    assert sorted(path.name for path in (folders / "figures").iterdir()) == [
        "a.png",
        "b.png",
        "performances.json",
        "segments.json",
    ]
    segments = json.loads((folders / "figures" / "segments.json").read_text())
    assert (segments["seconds"], list(segments["performances"])) == (5.0, ["a", "b"])
    # Two seconds are one segment, which is measured like the whole.
    assert segments["performances"]["b"] == {key: [value] for key, value in b.items()}
    assert not leftovers(folders)


def test_two_runs_write_the_same_bytes(folders):
    def written():
        run(folders)
        return [(folders / "m" / "lstm.json").read_bytes(), (folders / "figures" / "b.png").read_bytes()]

    assert written() == written()


def test_a_render_that_ends_early_is_silent_from_there_on(folders):
    write_audio(folders / "renders/512/lstm/a.wav", notes(0)[:RATE], RATE)
    run(folders)
    scores = json.loads((folders / "figures" / "performances.json").read_text())["a"]
    padded = np.concatenate([notes(0)[:RATE], np.zeros(RATE, "f4")])
    expected = evaluate_pair(notes(0), padded, RATE, CONFIG)
    assert scores["onset_recall"] == expected["onset_recall"] == 0.5
    assert scores["spectral_convergence"] == pytest.approx(expected["spectral_convergence"], rel=1e-3)


def test_values_keep_five_digits():
    assert round_values({"l2": 0.000123456789, "f1": 0.94123456, "db": 12.3456789, "none": 0.0}) == {
        "l2": 0.00012346,
        "f1": 0.94123,
        "db": 12.346,
        "none": 0.0,
    }


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("aligned/index.json", "diffsynth align"),
        ("aligned/b.flac", "diffsynth align"),
        ("renders/512/lstm/b.wav", "diffsynth infer --model lstm --block 512"),
    ],
)
def test_missing_stage_names_the_command(folders, missing, command):
    (folders / missing).unlink()
    with pytest.raises(UserError, match=f"{missing} does not exist; run `{command}` first"):
        run(folders)
    assert not (folders / "m").exists()
    assert not (folders / "figures").exists()
    assert not leftovers(folders)


def test_files_that_do_not_fit(folders):
    write_audio(folders / "renders/512/lstm/b.wav", notes(1), 48000)
    with pytest.raises(UserError, match=r"b\.wav has 48000 Hz, not 24000 Hz; run `diffsynth infer"):
        run(folders)
    write_json(folders / "aligned/index.json", {"sample_rate": RATE, "performances": []})
    with pytest.raises(UserError, match="no usable performance of the test split"):
        run(folders)
    write_json(folders / "aligned/index.json", {"performances": [{"name": "a"}]})
    with pytest.raises(UserError, match=r"index\.json is not an index of aligned data"):
        run(folders)


def call(*arguments):
    """Exit code of `diffsynth evaluate ...`."""
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *map(str, arguments)])
    return stopped.value.code


def test_command_measures_a_cell_and_tracks_it(folders, monkeypatch, capsys):
    uri = f"sqlite:///{folders}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    params = folders / "params.yaml"
    params.write_bytes(Path("params.yaml").read_bytes())
    monkeypatch.chdir(folders)
    options = {"--model": "lstm", "--block": 512, "--aligned": "aligned", "--renders": "renders"}
    assert call(*(word for pair in options.items() for word in pair)) == 0
    report = json.loads((folders / "results/metrics/512/lstm.json").read_text())
    assert (folders / "results/figures/512/lstm/a.png").is_file()
    output = capsys.readouterr().out.splitlines()
    assert len(output) == 1
    assert f"onset_f1 {report['metrics']['onset_f1']:.3g}" in output[0]
    client = MlflowClient(uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    [tracked] = client.search_runs(experiments, "tags.stage = 'evaluate'")
    assert tracked.data.metrics == pytest.approx(report["metrics"])
    assert (tracked.data.params["model"], tracked.data.params["block"]) == ("lstm", "512")
    assert {f.path for f in client.list_artifacts(tracked.info.run_id)} == {"metrics", "spectrograms"}


def test_nothing_is_measured_if_the_report_cannot_be_written(folders, monkeypatch, capsys):
    (folders / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    monkeypatch.chdir(folders)
    options = "--model lstm --block 512 --aligned aligned --renders renders --metrics aligned/a.flac"
    assert call(*options.split()) == 2
    said = "diffsynth: cannot write aligned/a.flac/512/lstm.json: Not a directory\n"
    assert capsys.readouterr().err == said
    assert not Path("results").exists()


def test_command_measures_one_pair(folders, capsys):
    target, prediction = folders / "aligned/a.flac", folders / "renders/512/lstm/b.wav"
    pair = ("--target", target, "--prediction", prediction)
    assert call(*pair, "--json", "--figure", folders / "pair.png") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["pitch_accuracy"] < 0.5 < printed["onset_f1"]
    assert (folders / "pair.png").read_bytes().startswith(b"\x89PNG")
    assert call(*pair) == 0
    rows = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert {name: float(value) for name, value in rows.items()} == pytest.approx(printed, rel=1e-3)


def test_command_measures_each_channel(folders, capsys):
    left, right = notes(0), notes(1)
    for name, channels in (("both", [left, right]), ("swapped", [right, left])):
        write_audio(folders / f"{name}.wav", np.stack(channels, axis=1), RATE)
    write_audio(folders / "one.wav", (left + right) / 2, RATE)
    found = {}
    for name in ("both", "swapped", "one"):
        pair = ("--target", folders / "both.wav", "--prediction", folders / f"{name}.wav")
        assert call(*pair, "--json") == 0
        found[name] = json.loads(capsys.readouterr().out)["spectral_convergence"]
    assert found["both"] == 0.0
    assert found["one"] < 1e-3  # beside one channel both are mixed
    assert found["swapped"] > 0.5


def test_command_compares_at_the_lower_rate(folders, capsys):
    time = np.arange(2 * 48000) / 48000
    for rate in (48000, 24000):
        tone = (0.3 * np.sin(2 * np.pi * 440 * time[:: 48000 // rate])).astype("f4")
        write_audio(folders / f"{rate}.wav", tone, rate)
    assert call("--target", folders / "48000.wav", "--prediction", folders / "24000.wav", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["spectral_convergence"] < 0.01
    assert printed["pitch_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --model and --block, or --target and --prediction"),
        (["--model", "lstm"], "give either --model and --block, or --target and --prediction"),
        (["--model", "lstm", "--block", "512", "--json"], "give either --model and --block"),
        (["--target", "a.wav", "--prediction", "b.wav"], "a.wav does not exist"),
        (["--model", "gru", "--block", "512"], "unknown model 'gru'"),
        (["--model", "lstm", "--block", "500"], "unknown block 500"),
        (
            ["--model", "s6", "--block", "512", "--renders", "nowhere"],
            "run `diffsynth infer --model s6 --block",
        ),
    ],
)
def test_wrong_input_is_one_line(arguments, message, capsys):
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
