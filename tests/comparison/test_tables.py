import csv
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from mlflow import MlflowClient
from support.scores import (
    BLOCKS,
    BOUNDS,
    METRICS,
    TIMINGS,
    VARIANTS,
    all_scores,
    lines_of,
    read,
    report,
    values,
)

from diffsynth.comparison.plots import plot_quality, plot_rtf
from diffsynth.comparison.tables import (
    TIMINGS as SPEED,
)
from diffsynth.comparison.tables import (
    Scores,
    quality,
    to_csv,
    to_curves,
    to_markdown,
)
from diffsynth.errors import UserError
from pipeline.app import run
from pipeline.params import load_params

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def scores():
    # Not sorted by block: curves have to be, whatever the order of the scores.
    return [Scores(model, block, values(model, block)) for model, block in reversed(VARIANTS)]


def compare(reports, *more):
    folders = [
        "--metrics",
        str(reports),
        "--timings",
        str(reports.parent / "timings"),
        *("--figures", str(reports.parent / "figures"), "--renders", str(reports.parent / "renders")),
        *("--aligned", str(reports.parent / "aligned")),
        *("--table", str(reports.parent / "table")),
        "--output",
        str(reports.parent / "out"),
    ]
    return run(["compare", "--params", str(PARAMS), *folders, *more])


def test_a_report_is_read(reports):
    assert read(reports, "s6", 2048) == Scores("s6", 2048, values("s6", 2048))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["metrics"].pop("l1"), "'l1' is missing"),
        (lambda r: r["metrics"].update(l2=None), "NoneType"),
        (lambda r: r["metrics"].update(l2="loud"), "loud"),
        (lambda r: r["metrics"].update(l2=float("nan")), "nan cannot be compared"),
        (lambda r: r["metrics"].update(l2=float("inf")), "inf cannot be compared"),
        (lambda r: r.update(block="all"), "all"),
        (lambda r: r.update(metrics=[]), "list"),
    ],
)
def test_a_report_that_lacks_something_is_named(reports, change, message):
    path = reports / "512" / "lstm.json"
    broken = report("lstm", 512)
    change(broken)
    path.write_text(json.dumps(broken))
    with pytest.raises(UserError, match=message) as error:
        read(reports, "lstm", 512)
    assert str(error.value).startswith(f"{path} is not a report of `diffsynth evaluate`: ")


def test_a_folder_without_timings_is_named(reports, capsys):
    assert compare(reports, "--timings", "/nowhere") == 2
    assert capsys.readouterr().err == (
        "diffsynth: /nowhere holds no timings of these models; run `diffsynth infer` first\n"
    )


def test_timings_that_lack_something_are_named(reports):
    path = reports.parent / "timings" / "512" / "lstm.json"
    for content in ({"rtf": 1, "p50_ms": 1}, {"rtf": None}, {"rtf": float("inf")}, [1]):
        path.write_text(json.dumps(content))
        with pytest.raises(UserError) as error:
            read(reports, "lstm", 512)
        assert str(error.value).startswith(f"{path} is not a report of `diffsynth infer`: ")


def test_a_report_that_is_no_object_is_named(reports):
    path = reports / "512" / "lstm.json"
    path.write_text("[1, 2]")
    with pytest.raises(UserError, match="is not a report"):
        read(reports, "lstm", 512)


@pytest.mark.parametrize(
    ("place", "change", "label"),
    [("512/lstm", {"block": 1024}, "lstm-1024"), ("bounds/excitation", {"model": "recording"}, "recording")],
)
def test_a_report_in_the_place_of_another_is_named(place, change, label, reports, capsys):
    path = reports / f"{place}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert compare(reports) == 2
    said = f"diffsynth: {path} is a report of {label}: it lies where that of another belongs\n"
    assert capsys.readouterr() == ("", said)
    assert not (reports.parent / "out").exists()


@pytest.mark.parametrize("option", ["--output", "--table"])
def test_a_place_that_cannot_be_written_is_named_before_anything_is(option, reports, capsys):
    file = reports.parent / "letter"
    file.write_text("mine")
    assert compare(reports, option, str(file)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"diffsynth: cannot write {file}/")
    assert said.err.count("\n") == 1
    assert not {"out", "table"} & {path.name for path in reports.parent.iterdir()}


def test_the_csv_table_keeps_every_number(scores):
    rows = list(csv.DictReader(to_csv(scores).splitlines()))
    assert list(rows[0]) == ["model", "block", *METRICS, *TIMINGS]
    assert len(rows) == len(VARIANTS)
    for row in rows:
        score = values(row.pop("model"), int(row.pop("block")))
        assert {name: float(value) for name, value in row.items()} == score


def test_the_curves_hold_one_number_a_row(scores):
    rows = list(csv.DictReader(to_curves(scores).splitlines()))
    assert len(rows) == len(VARIANTS) * len(METRICS + TIMINGS)
    assert {"measure": "Real-time factor", "model": "s6", "block": "1024", "value": "0.514"} in rows
    assert rows[0] == {"measure": "Onset F1", "model": "s6", "block": "4096", "value": "0.701"}


def test_the_markdown_table_is_exact_and_aligned():
    numbers = dict.fromkeys(METRICS + TIMINGS, 0.5) | {"onset_f1": 0.98765, "p99_ms": 1234.5}
    lines = to_markdown([Scores("lstm", 512, numbers), Scores("s6", 4096, numbers)]).splitlines()
    row = ["lstm", "512", "0.988", *["0.500"] * 10, "1234.500"]
    assert [score.strip() for score in lines[2].strip("|").split("|")] == row
    assert [score.strip() for score in lines[3].strip("|").split("|")][:2] == ["s6", "4096"]
    columns = [[i for i, c in enumerate(line) if c == "|"] for line in lines]
    assert columns == [columns[0]] * 4
    assert lines[1].startswith("| :---- | ----: |")


def curve(model, key):
    return [[block, values(model, block)[key]] for block in (512, 1024, 2048, 4096)]


def test_the_rtf_is_drawn_over_the_block_size(scores):
    (axes,) = plot_rtf(scores).axes
    drawn = lines_of(axes)
    assert {model: drawn[model] for model in ("lstm", "s6")} == {m: curve(m, "rtf") for m in ("lstm", "s6")}
    assert [y for _, y in drawn["real time"]] == [1.0, 1.0]
    assert axes.get_title() == "Real-time factor ↓"


def test_every_quality_measure_has_a_panel(scores):
    figure = plot_quality(scores)
    assert [axes.get_title() for axes in figure.axes] == [quality()[key].label for key in METRICS]
    for axes, key in zip(figure.axes, METRICS, strict=True):
        assert lines_of(axes) == {model: curve(model, key) for model in ("lstm", "s6")}
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"lstm", "s6"}


def test_block_sizes_are_ticks_at_equal_distances(scores):
    (axes,) = plot_rtf(scores).axes
    pixels = axes.transData.transform([(block, 1) for block in (512, 1024, 2048, 4096)])[:, 0]
    np.testing.assert_allclose(np.diff(pixels), np.diff(pixels)[0])
    assert axes.get_xticks().tolist() == [512, 1024, 2048, 4096]
    axes.figure.canvas.draw()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["512", "1024", "2048", "4096"]


def test_arrows_say_which_way_is_better():
    assert SPEED["rtf"].label.endswith("↓")
    higher = {key for key, m in quality().items() if m.label.endswith("↑")}
    assert higher == {*METRICS[:5], "note_f1", "note_offset_f1", "note_velocity_f1"}
    assert quality()["quiet_floor_db"].label == "Quiet floor in dB → 0"


def test_the_command_writes_and_prints_all_variants(reports, capsys):
    assert compare(reports) == 0
    out = reports.parent / "out"
    expected = to_markdown(all_scores())
    assert capsys.readouterr().out == expected == (out / "table.md").read_text()
    files = {"table.csv", "table.md", "curves.csv", "intervals.csv", "report.html", "rtf.png", "quality.png"}
    assert {path.name for path in out.iterdir()} == files
    for name in ("rtf.png", "quality.png"):
        picture = imread(out / name)[..., :3]
        assert picture.mean() > 0.8  # mostly paper
        assert picture.min() < 0.2  # with ink on it


def test_rows_for_dvc_are_short_and_those_of_before_are_removed(reports):
    table = reports.parent / "table"
    table.mkdir()
    (table / "gru-512.json").write_text("{}")
    assert compare(reports) == 0
    names = [*(f"{model}-{block}" for model, block in VARIANTS), *BOUNDS]
    assert sorted(path.stem for path in table.iterdir()) == sorted(names)
    row = json.loads((table / "s6-2048.json").read_text())
    assert list(row) == ["F1", "pitch", "poly", "SC", "LSD", "mel", "quiet", "Zim", "RTF", "p99"]
    assert (row["F1"], row["RTF"], row["p99"]) == (0.601, 0.614, 0.616)
    assert "RTF" not in json.loads((table / "excitation.json").read_text())


def test_the_command_writes_the_same_bytes_again(reports):
    def written():
        assert compare(reports) == 0
        return {path.name: path.read_bytes() for path in (reports.parent / "out").iterdir()}

    assert written() == written()


def test_the_run_holds_the_curves_and_the_files(reports, mlflow_store, monkeypatch):
    monkeypatch.setenv("DIFFSYNTH_PIPELINE_RUN", f"compare in {reports}")
    assert compare(reports) == 0
    client = MlflowClient(mlflow_store)
    experiment = client.get_experiment_by_name("diffsynth").experiment_id
    (stored,) = client.search_runs(
        [experiment], f"tags.pipeline_run = 'compare in {reports}' and tags.stage = 'compare'"
    )
    curve_of_rtf = [
        [m.step, m.value] for m in client.get_metric_history(stored.info.run_id, "vs_block.rtf.s6")
    ]
    assert curve_of_rtf == curve("s6", "rtf")
    assert stored.data.params == {
        "models": str(load_params(PARAMS).models),
        "blocks": str(load_params(PARAMS).blocks),
    }
    assert len(client.list_artifacts(stored.info.run_id)) == 7
    level = client.get_metric_history(stored.info.run_id, "vs_block.onset_recall.ideal_gains")
    assert [(m.step, m.value) for m in level] == [(block, 100.02) for block in BLOCKS]


def test_cells_without_a_report_are_left_out_and_named(reports, capsys):
    (reports / "1024" / "s6.json").unlink()
    (reports / "bounds" / "ideal_gains.json").unlink()
    assert compare(reports) == 0
    output = capsys.readouterr()
    assert output.err.splitlines() == [
        "diffsynth: not evaluated and left out: s6-1024",
        "diffsynth: not measured by `diffsynth bounds` and left out: ideal_gains",
        f"diffsynth: {reports.parent}/figures holds no metrics of segments: intervals are left out",
        f"diffsynth: {reports.parent}/renders holds no renders: the report has no players",
    ]
    assert len(output.out.splitlines()) == 2 + len(VARIANTS) - 1 + len(BOUNDS) - 1


def test_reports_that_the_parameters_do_not_name_are_left_out(reports, tmp_path, capsys):
    source = PARAMS.read_text()
    (tmp_path / "p.yaml").write_text(source.replace("models: [lstm, s6]", "models: [s6]"))
    assert compare(reports, "--params", str(tmp_path / "p.yaml")) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[1] for line in rows] == [
        *("low_pass", "another_piano", "excitation", *["s6"] * 4, "ideal_gains", "recording")
    ]


def test_nothing_to_compare_names_the_command(tmp_path, capsys):
    (tmp_path / "metrics").mkdir()
    assert compare(tmp_path / "metrics") == 2
    assert "run `diffsynth evaluate" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
