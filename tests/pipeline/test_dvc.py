import configparser
import json
import shlex
import shutil
import subprocess

import networkx
import pytest
import yaml
from dvc.repo import Repo
from support.pipeline_stages import (
    MATRIX,
    PARAMS,
    ROOT,
    SINGLE,
    YAML,
    config_without_git,
    is_code,
    params_of,
    relative,
    write,
)

from diffsynth.audio.format import BLOCKS
from diffsynth.models.registry import MODELS
from pipeline.app import LazyGroup

STAGES = SINGLE + [f"{name}@{model}-{block}" for name in MATRIX for model in MODELS for block in BLOCKS]


# The graph.


def test_every_stage_resolves(stages):
    assert sorted(stages) == sorted(STAGES)


def test_every_stage_runs_a_command_that_understands_its_options(stages):
    for name, stage in stages.items():
        words = shlex.split(stage.cmd)
        command, _, variant = name.partition("@")
        assert words[:4] == ["python", "-m", "pipeline", command]
        if variant:
            model, _, block = variant.partition("-")
            assert words[4:] == ["--model", model, "--block", block]
        LazyGroup().get_command(None, command).make_context(command, words[4:])


def test_every_dependency_is_in_the_repository_or_made_by_a_stage(stages):
    made = set().union(*(relative(stage.outs) for stage in stages.values()))
    for name, stage in stages.items():
        for dependency in relative(stage.deps):
            if not any(dependency == out or out.startswith(f"{dependency}/") for out in made):
                assert (ROOT / dependency).exists(), f"{name}: {dependency}"


def test_stages_run_in_the_order_of_the_data(repo):
    graph = networkx.DiGraph((after.name, before.name) for after, before in repo.index.graph.edges)
    assert networkx.is_directed_acyclic_graph(graph)
    assert networkx.descendants(graph, "compare") == set(STAGES) - {"compare"}
    for model in MODELS:
        for block in BLOCKS:
            variant = f"{model}-{block}"
            own = {f"{name}@{variant}" for name in MATRIX} | set(SINGLE) - {"bounds", "compare"}
            assert networkx.descendants(graph, f"evaluate@{variant}") | {f"evaluate@{variant}"} == own


def test_a_parameter_of_one_model_concerns_its_training_alone(stages):
    for model in MODELS:
        concerned = {name for name, stage in stages.items() if model in params_of(stage)}
        assert concerned == {f"train@{model}-{block}" for block in BLOCKS}


def test_metrics_and_plots_are_declared(stages):
    for model in MODELS:
        for block in BLOCKS:
            for command, folder in (("evaluate", "metrics"), ("infer", "timings")):
                (metrics,) = (out for out in stages[f"{command}@{model}-{block}"].outs if not out.use_cache)
                assert relative([metrics]) == {f"results/{folder}/{block}/{model}.json"}
            plots = [out for out in stages[f"train@{model}-{block}"].outs if out.plot]
            assert f"results/train/{block}/{model}/loss.csv" in relative(plots)
    bounds = [out for out in stages["bounds"].outs if not out.use_cache]
    names = ("another_piano", "excitation", "ideal_gains", "low_pass", "recording")
    names = {f"results/metrics/bounds/{name}.json" for name in names}
    assert relative(bounds) == names
    assert relative(out for out in stages["compare"].outs if not out.use_cache) == {"results/table"}
    assert yaml.safe_load((ROOT / "dvc.yaml").read_text())["metrics"] == ["results/table"]
    names = ("curves.csv", "rtf.png", "quality.png")
    assert relative(out for out in stages["compare"].outs if out.plot) == {
        f"results/compare/{n}" for n in names
    }


def test_git_ignores_what_stages_make_and_nothing_else(stages, tmp_path):
    made = set().union(*(relative(stage.outs) for stage in stages.values()))
    kept = ("results/metrics/", "results/timings/", "results/table")
    metrics = {name for name in made if name.startswith(kept)}
    code = {
        "dvc.lock",
        "dvc.yaml",
        "diffsynth/new.py",
        ".dvc/plots/curves.json",
        "data/demo/a.flac",
        "weights/512/a",
    }
    asked = sorted(made | code)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)  # a ZIP of the repository is none
    write(tmp_path / ".gitignore", (ROOT / ".gitignore").read_text())
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *asked],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set(ignored) == made - metrics


def test_dvc_calls_nobody():
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc" / "config")
    core = {key: config["core"].getboolean(key) for key in ("analytics", "check_update", "autostage")}
    assert core == {"analytics": False, "check_update": False, "autostage": False}


def test_the_template_of_the_curves_draws_a_line_per_model():
    template = json.loads((ROOT / ".dvc" / "plots" / "curves.json").read_text())
    (plot,) = (p for p in YAML["compare"]["plots"] if isinstance(p, dict))
    (options,) = plot.values()
    assert (*plot, options["template"], options["x"], options["y"]) == (
        *("results/compare/curves.csv", "curves", "block", "value"),
    )
    encoding = template["spec"]["encoding"]
    assert (template["facet"]["field"], encoding["color"]["field"]) == ("measure", "model")
    assert encoding["x"]["axis"]["values"] == list(BLOCKS)


# dvc.yaml run by the real DVC, with a stand-in for the slow commands: it writes into its outs the
# parameters that it declares and what it depends on, and nothing else. Of code only that of the models is
# left in deps, because DVC reads the whole list again for every stage, which takes a minute.

STAND_IN = """
import hashlib, json, pathlib, sys, yaml
plan = json.load(open("plan.json"))[" ".join(sys.argv[1:])]
params = yaml.safe_load(open("params.yaml"))
def read(path):
    path = pathlib.Path(path)
    return "".join(read(p) for p in sorted(path.iterdir())) if path.is_dir() else path.read_text()
text = str([[params[p] for p in plan["params"]], [read(d) for d in plan["deps"]]])
for out in plan["outs"]:
    out = pathlib.Path(out) if pathlib.Path(out).suffix else pathlib.Path(out, "file")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(hashlib.sha256(text.encode()).hexdigest())
"""


@pytest.fixture
def copy(stages, tmp_path):
    """A copy of the pipeline with stand-ins for one block size; its parameters."""
    made = set().union(*(relative(stage.outs) for stage in stages.values()))
    plan = {}
    for stage in stages.values():
        deps = {name for name in relative(stage.deps) if not is_code(name) or is_model(name)}
        plan[stage.cmd.removeprefix("python -m pipeline ")] = {
            "outs": sorted(relative(stage.outs)),
            "deps": sorted(deps),
            "params": sorted(params_of(stage)),
        }
        for name in (
            deps - made - {"results/metrics", "results/timings", "results/figures", "results/renders"}
        ):
            write(tmp_path / name / "file", name)
    write(tmp_path / "plan.json", json.dumps(plan))
    write(tmp_path / "pipeline" / "__init__.py", "")  # or that of PYTHONPATH would be found first
    write(tmp_path / "pipeline" / "__main__.py", STAND_IN)
    definition = {
        name: {**stage, "deps": [dep for dep in stage["deps"] if not is_code(dep) or is_model(dep)]}
        for name, stage in YAML.items()
    }
    write(tmp_path / "dvc.yaml", yaml.safe_dump({"stages": definition}, sort_keys=False))
    write(tmp_path / ".dvc" / "config", config_without_git())
    shutil.rmtree(tmp_path / "diffsynth" / "models" / NEW)
    write(tmp_path / "diffsynth" / "models" / "registry.py", "lstm, s6")
    params = {name: value for name, value in PARAMS.items() if name != NEW}
    return tmp_path, {**params, "models": ["lstm", "s6"], "blocks": [512]}


NEW = "unet"  # stands for a model that is added


def is_model(name):
    return name.startswith("diffsynth/models/")


def reproduce(folder, params):
    """Names of the stages that ran."""
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return sorted(stage.name for stage in Repo(str(folder)).reproduce())


def variants(model):
    return {f"{name}@{model}-512" for name in MATRIX} | {"compare"}


def test_only_what_has_changed_runs_again(copy, monkeypatch):
    folder, params = copy
    monkeypatch.chdir(folder)
    assert reproduce(folder, params) == sorted({*SINGLE} | variants("lstm") | variants("s6"))
    # How this machine works is no part of it.
    for name in ("WORKERS", "THREADS", "CONNECTIONS", "CHECKPOINT_EVERY"):
        monkeypatch.setenv(f"DIFFSYNTH_{name}", "7")
    assert Repo(str(folder)).status() == {}
    # A model is added: its folder, a line in the table, its section and its name.
    write(folder / "diffsynth" / "models" / "registry.py", "lstm, s6, and a new one")
    assert Repo(str(folder)).status() == {}
    write(folder / "diffsynth" / "models" / NEW / "__init__.py", "a network")
    params = {**params, "models": [*params["models"], NEW], NEW: PARAMS[NEW]}
    assert reproduce(folder, params) == sorted(variants(NEW))
    params = {**params, "s6": {**params["s6"], "units": 104}}
    assert reproduce(folder, params) == sorted(variants("s6"))
