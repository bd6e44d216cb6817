"""What is best and what cannot be told from it, from the files of segments to the table."""

import csv
import json

import numpy as np
import pytest
from scipy.stats import t
from support.report_page import write_segments
from support.scores import METRICS, VARIANTS, Scores, all_scores, lines_of

from diffsynth.comparison.charts import chart
from diffsynth.comparison.plots import plot_quality
from diffsynth.comparison.report import _findings
from diffsynth.comparison.tables import measures, to_markdown
from diffsynth.comparison.verdicts import interval, read_segments, to_intervals, verdicts
from diffsynth.errors import UserError

BEST = ("s6", 512)


@pytest.fixture
def scores():
    """All of one value, but for the best system."""
    return [
        Scores(of.model, of.block, dict.fromkeys(of.values, 0.3 if of.system == BEST else 0.5))
        for of in all_scores()
    ]


@pytest.fixture
def found(scores, tmp_path):
    write_segments(tmp_path)
    places = {of.system: f"{of.block or 'bounds'}/{of.model}" for of in scores if of.model != "recording"}
    segments = {
        system: read_segments(tmp_path / "figures" / place / "segments.json")
        for system, place in places.items()
    }
    return verdicts(scores, segments)


def test_the_best_is_marked_and_what_differs_from_it_is_not(scores, found):
    assert found.drawn == "16 segments, within each of 2 performances"
    assert set(found.by_measure) == set(METRICS)
    verdict = found.by_measure["log_mel_db"]
    assert verdict.best == BEST
    marks = {of.system: found.mark(of, "log_mel_db") for of in scores}
    assert marks.pop(BEST) == "best"
    assert set(marks.values()) == {""}
    behind = verdict.behind(("excitation", None), BEST)
    assert behind.value == pytest.approx(0.2, abs=0.02)
    assert behind.told
    alike = verdict.behind(("lstm", 512), ("s6", 4096))
    assert not alike.told
    assert alike.low < 0 < alike.high
    assert verdict.behind(("recording", None), BEST) is None


def test_another_piano_is_behind_the_best_by_a_paired_interval_of_its_own(found, tmp_path):
    """It has nine rivals, and its nine differences are corrected together; theirs are as without it."""
    verdict = found.by_measure["log_mel_db"]
    behind = verdict.behind(("another_piano", None), BEST)
    segments = [
        read_segments(tmp_path / "figures" / place / "segments.json")
        for place in ("bounds/another_piano", "512/s6")
    ]
    paired = [np.subtract(*(own[name]["log_mel_db"] for own in segments)) for name in segments[0]]
    assert behind.value == pytest.approx(np.mean(paired))
    error = np.sqrt(sum(of.var(ddof=1) / 8 for of in paired)) / 2
    expected = t.ppf(1 - 0.05 / 2 / 9, 14) * error
    assert behind.high - behind.value == pytest.approx(expected, rel=0.05)
    assert behind.told
    assert not verdict.behind(("another_piano", None), ("excitation", None)).told
    assert not verdict.like_best(("another_piano", None))


def test_the_report_says_what_the_best_is_beside_both_pianos(scores, found):
    told = {row["measure"]: row for row in _findings(scores, found)}
    sides = {key: list(told[measures()[key].label]["beside"].values()) for key in ("log_mel_db", "onset_f1")}
    assert sides == {"log_mel_db": ["better", "better"], "onset_f1": ["alike", "alike"]}
    assert told[measures()["log_mel_db"].label]["best"] == "s6-512"


def test_where_more_is_better_equal_systems_are_like_the_best(scores, found):
    """The one that is lower is worse then, and all others are like the best of them."""
    marks = {of.system: found.mark(of, "onset_f1") for of in scores}
    assert marks[VARIANTS[0]] == "best"  # the first of equals
    assert marks[BEST] == ""
    assert marks["excitation", None] == "like best"
    assert marks["low_pass", None] == marks["recording", None] == ""  # no competitors


def test_the_table_has_marks_intervals_and_a_legend(scores, found):
    lines = to_markdown(scores, found).splitlines()
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    column = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:-2]]
    at = header.index("log-mel")
    assert [row[at] for row in column if row[:2] == ["s6", "512"]] == ["**0.300**"]
    assert [row[header.index("onset F1")] for row in column if row[0] == "excitation"] == ["≈0.500"]
    assert column[-1][0] == "± (95 %)"
    halves = sorted(found.half(of, "log_mel_db") for of in scores if of.block)
    assert float(column[-1][at]) == pytest.approx((halves[3] + halves[4]) / 2, abs=5e-4)
    assert lines[-1].endswith("Drawn: 16 segments, within each of 2 performances.")


def test_all_intervals_are_written(scores, found):
    rows = list(csv.DictReader(to_intervals(scores, found).splitlines()))
    assert len(rows) == len(METRICS) * (len(scores) - 1)
    row = next(row for row in rows if row["measure"] == "l1" and row["model"] == "excitation")
    verdict = found.by_measure["l1"]
    assert float(row["half"]) == pytest.approx(verdict.half["excitation", None], rel=1e-4)
    assert (row["best"], row["like_best"]) == ("0", "0")
    assert float(row["behind_best"]) > float(row["behind_best_margin"]) > 0
    assert float(row["behind_piano"]) == 0
    anchor = next(row for row in rows if row["measure"] == "l1" and row["model"] == "another_piano")
    behind = verdict.behind(("another_piano", None), BEST)
    assert float(anchor["behind_best"]) == pytest.approx(behind.value, rel=1e-4)
    assert float(anchor["behind_best_margin"]) == pytest.approx(behind.high - behind.value, rel=1e-4)
    assert anchor["behind_piano_margin"] != ""


def test_intervals_end_at_the_perfect_value():
    class Wide:
        def half(self, score, key):
            return 0.4

    score = Scores("s6", 512, {"onset_f1": 0.9, "l1": 0.1, "quiet_floor_db": 0.1})
    ends = {key: interval(score, key, Wide()) for key in score.values}
    assert ends == {"onset_f1": (0.5, 1.0), "l1": (0.0, 0.5), "quiet_floor_db": (-0.30000000000000004, 0.5)}


def test_plots_hold_the_perfect_value_and_intervals(scores, found):
    figure = plot_quality(scores, found)
    for axes, key in zip(figure.axes, METRICS, strict=True):
        low, high = axes.get_ylim()
        assert low <= measures()[key].perfect <= high
        assert len(axes.collections) == len(VARIANTS)
        assert set(lines_of(axes)) >= {"lstm", "s6", "piano alone"}
    spec = chart("onset_f1", measures()["onset_f1"], scores, found)
    lines = spec["layer"][-1]
    low, high = lines["encoding"]["y"]["scale"]["domain"]
    assert low < 0.3
    assert high == 1.0
    points = lines["data"]["values"]
    assert [(p["model"], p["block"]) for p in points] == VARIANTS
    assert all(p["low"] < p["value"] < p["high"] for p in points)


def test_systems_on_other_segments_are_named(scores, tmp_path):
    write_segments(tmp_path)
    path = tmp_path / "figures" / "512" / "lstm" / "segments.json"
    segments = {("lstm", 512): read_segments(path), ("s6", 512): read_segments(path)}
    segments["s6", 512] = {"first": segments["s6", 512]["first"]}
    with pytest.raises(UserError, match="s6-512 and lstm-512 were measured on different segments"):
        verdicts(scores, segments)


def test_segments_without_a_measure_of_the_table_are_named(scores, tmp_path):
    write_segments(tmp_path)
    segments = {("s6", 512): read_segments(tmp_path / "figures" / "512" / "s6" / "segments.json")}
    del segments["s6", 512]["first"]["log_mel_db"]
    with pytest.raises(
        UserError, match="s6-512 has log_mel_db, and its segments have none; run `diffsynth ev"
    ):
        verdicts(scores, segments)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"performances": []},
        *(
            {"performances": {"a": scores}}
            for scores in (
                {"l1": [None]},
                {"l1": [float("nan")]},
                {},
                {"l1": []},
                {"l1": [1.0], "l2": [1.0, 2.0]},
            )
        ),
    ],
)
def test_a_file_that_holds_something_else_is_named(content, tmp_path):
    (tmp_path / "segments.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="holds no metrics of segments; run `diffsynth evaluate` again"):
        read_segments(tmp_path / "segments.json")
