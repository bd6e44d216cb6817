"""What DVC shows of finished runs: within 120 characters, and as a page that needs no network."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from plots_page import PAGE, page
from support.pipeline_stages import ROOT, YAML, config_without_git, write
from support.scores import METRICS, TIMINGS, Scores, all_scores

from diffsynth.comparison.tables import to_curves, to_rows

WIDTH = 120


def scores(effect=0.0):
    """Numbers as long as real ones."""
    real = dict.fromkeys(METRICS, 0.95744 + effect) | {"zimtohrli": 0.00167123, "quiet_floor_db": 1.9363}
    real |= {"log_mel_db": 1.30221, "spectral_convergence": 0.0788123}
    timed = real | dict(zip(TIMINGS, (0.0949, 15.88, 21.275), strict=True))
    return [Scores(of.model, of.block, timed if of.block else real) for of in all_scores()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project of the last two stages, as they are declared, with what they write; and a change."""
    folder = tmp_path_factory.mktemp("shown")
    (loss,) = YAML["train"]["plots"][0].values()
    plots = {"results/train/512/lstm/loss.csv": {**loss, "title": "loss, lstm at 512"}}
    (curves,) = (plot for plot in YAML["compare"]["plots"] if isinstance(plot, dict))
    stage = {"cmd": "true", "outs": [{"results/table": {"cache": False}}]}
    definition = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    content = {"stages": {"compare": stage}, "metrics": definition["metrics"], "plots": [plots, curves]}
    write(folder / "dvc.yaml", yaml.safe_dump(content))
    write(folder / "params.yaml", (ROOT / "params.yaml").read_text())
    write(folder / ".dvc" / "config", config_without_git().replace("no_scm = true", "no_scm = false"))
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    write(folder / "results/compare/curves.csv", to_curves(scores()))
    write(folder / "results/train/512/lstm/loss.csv", "step,one_step_db\n0,5\n40,4\n80,3\n")
    write_table(folder)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a run"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    write_table(folder, 0.01)
    return folder


def write_table(folder, effect=0.0):
    for name, row in to_rows(scores(effect)).items():
        write(folder / "results" / "table" / f"{name}.json", json.dumps(row))


def dvc(folder, *words):
    """What a command prints in a terminal of 120 characters."""
    environment = {**os.environ, "COLUMNS": str(WIDTH), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return done.stdout


def test_metrics_are_one_line_per_row_within_the_width(folder):
    lines = dvc(folder, "metrics", "show").splitlines()
    assert lines[0].split() == [
        "Path",
        "F1",
        "LSD",
        "RTF",
        "SC",
        "Zim",
        "mel",
        "p99",
        "pitch",
        "poly",
        "quiet",
    ]
    assert len(lines) == 1 + len(all_scores())
    assert max(map(len, lines)) <= WIDTH
    (line,) = (line for line in lines if "s6-4096" in line)
    assert line.split()[:4] == ["results/table/s6-4096.json", "0.967", "0.967", "0.0949"]


def test_a_difference_is_told_where_it_matters(folder):
    lines = dvc(folder, "metrics", "diff").splitlines()
    assert max(map(len, lines)) <= WIDTH
    (line,) = (line for line in lines if "s6-512.json" in line and "F1" in line)
    assert line.split() == ["results/table/s6-512.json", "F1", "0.957", "0.967", "0.01"]
    assert not [line for line in lines if "Zim" in line]  # unchanged


def test_experiments_fit_the_width_as_the_docs_show_them(folder):
    (command,) = (
        line.split("#")[0].strip()
        for line in (ROOT / "docs" / "compare.md").read_text().splitlines()
        if line.startswith("dvc exp show")
    )
    words = [word.strip("'") for word in command.split()[1:]]
    lines = dvc(folder, *words, "--no-pager").splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "…" not in "".join(lines)
    text = " ".join(lines)
    assert "workspace" in text
    for value in ("0.967", "1.3", "0.0949"):
        assert value in text


def test_the_page_of_plots_needs_no_network(folder, open_page):
    dvc(folder, "plots", "show")
    seen = open_page()
    seen.page.goto((folder / "dvc_plots" / "index.html").as_uri())
    seen.page.wait_for_function("document.querySelectorAll('.vega-embed canvas, .vega-embed svg').length > 1")
    assert seen.errors == []
    assert seen.requests == [(folder / "dvc_plots" / "index.html").as_uri()]
    assert "all measures over the block size" in seen.page.content()


def test_the_page_holds_the_vega_that_is_installed():
    assert PAGE.read_text() == page()
