"""`diffsynth benchmark` from its options to its table, with real voices and real programs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from support.benchmarked import NAMES, SECONDS, table
from support.fluidsynth import needs_fluidsynth

from diffsynth.runs.files import sha256
from diffsynth.synthesis.config import RELEASED_VOICE
from pipeline.app import run
from pipeline.paths import WEIGHTS


def evaluated(capsys, target, prediction):
    """What `diffsynth evaluate` says of two files."""
    capsys.readouterr()
    assert run(["evaluate", "--target", str(target), "--prediction", str(prediction), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def measured(out, system, name):
    """The row of a performance, as numbers."""
    rows = table(out / "performances.csv")
    row = next(row for row in rows if (row["system"], row["performance"]) == (system, name))
    return {key: float(value) for key, value in list(row.items())[2:]}


def test_rows_stand_in_their_order(rows):
    systems = [system for system, over in rows if over == "performances" and system != "fluidsynth"]
    assert systems == ["low_pass", "excitation", "lstm-512", "late", "tones", "recording"]
    assert [rows[system, "segments"]["kind"] for system in systems] == [
        *("reference", "piano", "voice", "command", "command", "reference")
    ]
    assert {row["pieces"] for row in rows.values()} == {"2"}


@pytest.mark.parametrize("system", ["low_pass", "excitation", "lstm-512", "late", "tones"])
def test_numbers_are_those_of_evaluate(done, system, capsys):
    for name in NAMES:
        files = done / "audio" / "recording" / f"{name}.flac", done / "audio" / system / f"{name}.wav"
        row = measured(done, system, name)
        row.pop("offset_ms")
        assert row == evaluated(capsys, *files)


def test_the_table_holds_means_and_intervals(done, rows):
    row = rows["lstm-512", "performances"]
    values = [measured(done, "lstm-512", name)["log_mel_db"] for name in NAMES]
    assert float(row["log_mel_db"]) == pytest.approx(np.mean(values), rel=1e-4)
    assert 0 < float(row["log_mel_db_low"]) < float(row["log_mel_db"]) < float(row["log_mel_db_high"])
    assert rows["recording", "performances"]["log_mel_db_low"] == ""
    segments = float(rows["lstm-512", "segments"]["log_mel_db"])
    assert segments == pytest.approx(float(row["log_mel_db"]), rel=0.2)


def test_the_recording_is_perfect_and_the_anchor_is_not(rows):
    row = rows["recording", "performances"]
    assert (row["onset_f1"], row["spectral_convergence"], row["log_mel_db"]) == ("1.0", "0.0", "0.0")
    assert float(rows["low_pass", "performances"]["log_mel_db"]) > 0.2


def test_a_delay_is_found_reported_and_removed(done, rows):
    assert float(rows["late", "performances"]["offset_ms"]) == pytest.approx(30.0, abs=0.5)
    # The voice is another piano, which attacks sooner.
    assert abs(float(rows["lstm-512", "performances"]["offset_ms"])) < 8.0
    assert float(rows["late", "performances"]["spectral_convergence"]) < 0.02
    assert float(rows["late", "performances"]["onset_f1"]) > 0.95


def test_speed_and_latency_belong_to_voices_and_speed_to_programs(rows):
    voice, command = rows["lstm-512", "performances"], rows["tones", "performances"]
    assert float(voice["latency_ms"]) == 32.0  # three blocks of 512 at 48 kHz, as `diffsynth play` says
    assert 0 < float(voice["p50_ms"]) <= float(voice["p99_ms"])
    assert 0 < float(voice["rtf"]) < 1
    assert 0 < float(command["rtf"]) < 5
    assert (command["latency_ms"], command["p99_ms"]) == ("", "")
    assert rows["recording", "performances"]["rtf"] == ""


@needs_fluidsynth
def test_fluidsynth_plays_the_same_notes_on_another_piano(rows):
    row, alone = rows["fluidsynth", "performances"], rows["low_pass", "performances"]
    assert row["kind"] == "soundfont"
    assert float(row["onset_f1"]) > 0.8
    assert float(row["spectral_convergence"]) > 2 * float(alone["spectral_convergence"])
    assert abs(float(row["offset_ms"])) < 20
    assert 0 < float(row["rtf"]) < 1


def test_the_metadata_names_all_that_was_read(done, performances):
    found = json.loads((done / "metadata.json").read_text())
    assert found["settings"]["rate"] == 24000
    assert found["machine"]["cpu"]
    assert found["systems"]["lstm-512"]["sha256"] == sha256(
        WEIGHTS / RELEASED_VOICE / "512" / "lstm.safetensors"
    )
    assert found["systems"]["late"]["command"].endswith("{midi} {wav}")
    assert sorted(found["performances"]) == NAMES
    for name, piece in found["performances"].items():
        assert piece["audio_sha256"] == sha256(performances / f"{name}.flac")
        assert piece["midi_sha256"] == sha256(performances / f"{name}.mid")
        assert piece["end"] == SECONDS


def test_the_table_for_people_says_how_it_was_made(done):
    text = (done / "table.md").read_text()
    assert [line.split()[1] for line in text.splitlines()[2:4]] == ["low_pass", "excitation"]
    assert "2 performances, 16.0 s, at 24000 Hz, mono, delays up to 60 ms removed" in text


def test_the_page_opens_from_disk_and_plays_every_system(done, open_page):
    seen = open_page()
    seen.page.goto((done / "report.html").as_uri())
    seen.page.wait_for_selector("#chart-rtf svg")
    seen.page.wait_for_function("document.getElementById('difference').width > 100")
    assert seen.requests == [(done / "report.html").as_uri()]
    assert seen.errors == []
    assert seen.violations() == []
    names = seen.page.locator("input[name=system]").evaluate_all("all => all.map((one) => one.ariaLabel)")
    assert {"recording", "lstm at 512", "late", "tones", "piano alone", "low-pass 3.5 kHz"} <= set(names)
    assert seen.page.get_by_role("columnheader", name="Best system").count() == 1
    seen.page.evaluate("player.choose('tones')")
    seen.page.wait_for_function("document.getElementById('cap-prediction').textContent === 'tones'")
    assert "diffsynth benchmark" in seen.page.locator("footer").inner_text()


def test_the_run_is_logged(done, mlflow_store):
    client = MlflowClient(mlflow_store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    logged = client.search_runs(experiments, "tags.stage = 'benchmark'", order_by=["start_time ASC"])
    assert any(
        {"vs_recording.log_mel_db.lstm-512", "vs_recording.rtf.tones"} <= set(run.data.metrics)
        for run in logged
    )


def test_what_is_rendered_stays_and_other_measures_are_made_of_it(
    done, options, performances, tmp_path, monkeypatch, capsys
):
    shutil.copytree(done, tmp_path / "out")
    for name in ("systems.OwnVoice", "systems.PianoAlone", "systems.SoundFont", "external.External"):
        monkeypatch.setattr(f"diffsynth.benchmark.{name}.play", None)
    command = ["benchmark", str(performances), "--out", str(tmp_path / "out"), *options]
    with monkeypatch.context() as patch:
        patch.setattr("diffsynth.benchmark.measuring.measure", None)
        assert run(command) == 0
    for name in ("results.csv", "performances.csv", "table.md"):
        assert (tmp_path / "out" / name).read_bytes() == (done / name).read_bytes()
    assert run([*command, "--lag", "0"]) == 0
    row = measured(tmp_path / "out", "lstm-512", NAMES[0])
    assert row.pop("offset_ms") == 0
    # So nothing is moved, and the numbers are those of what was given and rendered, but for its 16 bits.
    recording, name = performances / f"{NAMES[0]}.flac", Path("lstm-512", f"{NAMES[0]}.wav")
    assert row == evaluated(capsys, recording, tmp_path / "out" / "audio" / name)
    assert row == pytest.approx(evaluated(capsys, recording, done / "renders" / name), rel=0.02)


def test_a_part_of_each_performance(bench, tmp_path, options, capsys):
    assert bench("--models=", options[2], "--from=2", "--seconds=3") == 0
    assert "left out alone: no audio file of this name" in capsys.readouterr().err
    assert "2 performances, 6.0 s from second 2, at 24000 Hz" in (tmp_path / "out" / "table.md").read_text()
    row = next(row for row in table(tmp_path / "out" / "results.csv") if row["system"] == "late")
    assert float(row["spectral_convergence"]) < 0.05
    assert float(row["offset_ms"]) == pytest.approx(30.0, abs=0.5)
    assert row["log_mel_db_low"] == ""  # of one segment each there is no interval
    assert "curves-h" not in (tmp_path / "out" / "report.html").read_text()
