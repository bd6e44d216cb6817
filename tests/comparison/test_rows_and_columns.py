"""Rows that are no models, and columns that not every report has."""

import csv
import json

import pytest
from support.scores import (
    BLOCKS,
    BOUNDS,
    METRICS,
    TIMINGS,
    VARIANTS,
    all_scores,
    bound,
    lines_of,
    read,
    report,
    values,
)

from diffsynth.comparison.plots import plot_quality, plot_rtf
from diffsynth.comparison.report import to_html
from diffsynth.comparison.tables import (
    ABOVE,
    BELOW,
    NAMES,
    Scores,
    read_bound,
    to_csv,
    to_curves,
    to_markdown,
)
from diffsynth.comparison.verdicts import Verdicts
from diffsynth.errors import UserError


def test_bounds_are_read(reports):
    path = reports / "bounds" / "recording.json"
    assert read_bound(path) == bound("recording")
    path.write_text("{}")
    with pytest.raises(UserError, match="is not a report of `diffsynth bounds`: 'model' is missing"):
        read_bound(path)


def test_bounds_have_empty_cells_for_what_they_lack():
    rows = list(csv.DictReader(to_csv(all_scores()).splitlines()))
    assert [row["model"] for row in rows] == [
        *("low_pass", "another_piano", "excitation", *["lstm"] * 4, *["s6"] * 4, "ideal_gains", "recording")
    ]
    assert [rows[2][name] for name in ("block", "onset_f1", "zimtohrli", "rtf", "p99_ms")] == [
        *("", "0.0", "0.12", "", "")
    ]
    line = to_markdown(all_scores()).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:3] == ["recording", "", "200.000"]
    assert cells[-4:] == ["200.120", "", "", ""]


def test_bounds_are_level_curves_over_all_blocks():
    rows = [row for row in csv.DictReader(to_curves(all_scores()).splitlines()) if row["model"] in BOUNDS]
    assert len(rows) == len(METRICS) * len(BOUNDS) * len(BLOCKS)
    ideal = [row for row in rows if (row["model"], row["measure"]) == ("ideal_gains", "Pitch accuracy")]
    assert [(row["block"], row["value"]) for row in ideal] == [(str(block), "100.03") for block in BLOCKS]


def test_bounds_are_lines_across_the_panels_and_have_no_speed():
    figure = plot_quality(all_scores())
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *("lstm", "s6", "low-pass 3.5 kHz", "another piano", "piano alone", "right gains")
    ]
    for column, axes in enumerate(figure.axes):
        drawn = lines_of(axes)
        for name in (*ABOVE, *BELOW[:-1]):  # the recording has no line
            assert [y for _, y in drawn[NAMES[name]]] == [100 * BOUNDS.index(name) + column / 100] * 2
    assert set(lines_of(plot_rtf(all_scores()).axes[0])) == {"lstm", "s6", "real time"}


def test_what_needs_an_optional_package_may_be_missing(reports):
    path = reports / "512" / "lstm.json"
    content = report("lstm", 512)
    del content["metrics"]["zimtohrli"]
    path.write_text(json.dumps(content))
    found = read(reports, "lstm", 512)
    assert set(found.values) == {*METRICS, *TIMINGS} - {"zimtohrli"}
    other = Scores("s6", 512, values("s6", 512))
    header, _, row, _ = to_markdown([found, other]).splitlines()
    cells = dict(zip(*([cell.strip() for cell in line.split("|")] for line in (header, row)), strict=True))
    assert cells["Zimtohrli"] == ""
    assert "Zimtohrli" not in to_markdown([found])
    assert "zimtohrli" not in to_csv([found])
    assert "Zimtohrli" not in to_curves([found])
    assert to_curves([found, other]).count("Zimtohrli") == 1
    assert len(plot_quality([found]).axes) == len(METRICS) - 1


def test_scores_of_notes_are_columns_where_some_report_has_them(reports):
    path = reports / "512" / "lstm.json"
    content = report("lstm", 512)
    assert "notes" not in to_markdown([read(reports, "lstm", 512)])
    content["metrics"] |= {"note_f1": 0.5, "note_offset_f1": 0.25, "note_velocity_f1": 0.125}
    path.write_text(json.dumps(content))
    first, second = read(reports, "lstm", 512), read(reports, "s6", 512)
    header, _, *lines = to_markdown([first, second]).splitlines()
    names = [cell.strip() for cell in header.split("|")]
    cells = [dict(zip(names, (cell.strip() for cell in line.split("|")), strict=True)) for line in lines]
    assert [[row[name] for name in ("notes", "offsets", "velocities")] for row in cells] == [
        *(["0.500", "0.250", "0.125"], ["", "", ""])
    ]


@pytest.mark.parametrize(
    ("variants", "said"),
    [(VARIANTS, "2 models at 4 block sizes, beside"), (VARIANTS[:1], "1 model at 1 block size, beside")],
)
def test_the_page_counts_what_it_compares(variants, said):
    scores = [Scores(model, block, values(model, block)) for model, block in variants]
    assert f'<p class="lead">{said} the recording.' in to_html(scores, Verdicts({}, ""), [], "T")
