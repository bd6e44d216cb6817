import ast
import configparser
import json
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import networkx
import pytest
import yaml
from dvc.repo import Repo

from diffsynth.alignment import performances
from diffsynth.audio.format import BLOCKS
from diffsynth.models.registry import MODELS
from diffsynth.shards import segments
from pipeline.app import COMMANDS, LazyGroup

ROOT = Path(__file__).parents[2]
YAML = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
SINGLE = ["download", "align", "shard", "fit", "features", "compare"]
MATRIX = ["train", "infer", "evaluate"]
STAGES = SINGLE + [f"{name}@{model}-{block}" for name in MATRIX for model in MODELS for block in BLOCKS]
# They record runs, name places and check what they read, and cannot change a result: see dvc.yaml.
PLUMBING = (
    *(f"pipeline/{name}.py" for name in ("__init__", "stage", "paths", "params", "machine")),
    *("diffsynth/runs/", "diffsynth/config.py", "diffsynth/errors.py", "diffsynth/models/registry.py"),
)
# They name all sections, models and blocks: what is used of them is imported elsewhere, or chosen by name.
TABLES = ("pipeline/params.py", "pipeline/stage.py", "diffsynth/models/registry.py")
# A representative of every matrix and every model is enough where blocks do not differ.
CODE = SINGLE + [f"{name}@{model}-{BLOCKS[0]}" for name in MATRIX for model in MODELS]


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    """The pipeline with all models: a folder with nothing but dvc.yaml and the parameters."""
    folder = tmp_path_factory.mktemp("pipeline")
    write(folder / "dvc.yaml", (ROOT / "dvc.yaml").read_text())
    write(folder / "params.yaml", yaml.safe_dump({**PARAMS, "models": list(MODELS)}))
    write(folder / ".dvc" / "config", config_without_git())
    return Repo(str(folder))


@pytest.fixture(scope="module")
def stages(repo):
    """Every stage that DVC makes of dvc.yaml, by name."""
    return {stage.name: stage for stage in repo.index.stages}


def config_without_git():
    """The committed configuration of DVC as it is in a ZIP of the repository (see .gitattributes)."""
    return (ROOT / ".dvc" / "config").read_text().replace("$Format:%n$", "\n")


def relative(entries):
    """Paths of entries, but for parameters, from the root of their repository."""
    paths = [(Path(entry.fs_path), entry.repo.root_dir) for entry in entries if not is_params(entry)]
    return {path.relative_to(root).as_posix() for path, root in paths}


def is_params(dependency):
    return hasattr(dependency, "params")


def params_of(stage):
    return {name for dependency in stage.deps if is_params(dependency) for name in dependency.params}


def command_of(stage):
    return stage.name.partition("@")[0]


def model_of(stage):
    _, _, cell = stage.name.partition("@")
    return cell.partition("-")[0]


# Code: what a command imports, read from the source, so that imports inside functions count.


def closure(*start):
    """Files of this repository that modules import, directly or not, but for what tables only name.

    No other command: `train --only-inference` runs `infer`, which the stage `train` never does.
    """
    found, todo = set(), list(start)
    others = {f"pipeline/{command}.py" for command in COMMANDS} - {*start}
    while todo:
        file = todo.pop()
        if file not in found | others:
            found.add(file)
            todo += () if file in TABLES else imported(file)
    return found


def imported(file):
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.partition(".")[0] in ("diffsynth", "pipeline"):
                yield from files_of(name)


def files_of(name):
    """The file of a module and the code that importing it runs in the packages around it."""
    parts = name.split(".")
    path = ROOT.joinpath(*parts)
    if path.with_suffix(".py").is_file():
        yield path.with_suffix(".py").relative_to(ROOT).as_posix()
    for length in range(len(parts), 1, -1):  # the top package holds only the version
        package = ROOT.joinpath(*parts[:length], "__init__.py")
        if package.is_file() and not is_only_documentation(package):
            yield package.relative_to(ROOT).as_posix()


def is_only_documentation(file):
    return all(isinstance(node, ast.Expr) for node in ast.parse(file.read_text()).body)


def is_code(name):
    return name.startswith(("diffsynth/", "pipeline/"))


def declared_code(stage):
    """Files and folders of code that a stage declares."""
    return {name for name in relative(stage.deps) if is_code(name)}


def needed_code(stage):
    """Files of code that a stage runs and that can change its result."""
    command, start = command_of(stage), [f"pipeline/{command_of(stage)}.py"]
    if command in ("train", "infer"):
        start.append(f"diffsynth/models/{model_of(stage)}/__init__.py")
    return {file for file in closure(*start) if not file.startswith(PLUMBING)}


def lies_in(file, place):
    return file == place or file.startswith(f"{place}/")


@pytest.mark.parametrize("name", CODE)
def test_code_is_declared_where_it_runs_and_nowhere_else(stages, name):
    needed, declared = needed_code(stages[name]), declared_code(stages[name])
    assert sorted(file for file in needed if not any(lies_in(file, place) for place in declared)) == []
    assert sorted(place for place in declared if not any(lies_in(file, place) for file in needed)) == []


def test_the_closure_follows_imports_in_functions_and_packages():
    found = closure("pipeline/compare.py")
    assert "pipeline/infer.py" not in closure("pipeline/train.py")
    assert {"pipeline/stage.py", "diffsynth/runs/files.py", "diffsynth/comparison/tables.py"} <= found
    assert find_spec("diffsynth.comparison.tables")
    s6 = closure("diffsynth/models/s6/__init__.py")
    assert {"diffsynth/models/s6/network.py", "diffsynth/models/parts/scan.py"} <= s6
    assert not {file for file in s6 if file.startswith("diffsynth/models/lstm")}


def test_stages_that_look_at_recordings_take_few_folders(stages):
    for name, most in {"download": 3, "align": 4, "shard": 3, "fit": 4, "evaluate": 2, "compare": 2}.items():
        stage = next(stage for stage in stages.values() if command_of(stage) == name)
        assert len([place for place in declared_code(stage) if place.startswith("diffsynth/")]) <= most


@pytest.mark.parametrize(("stage", "code"), [("align", performances.CODE), ("shard", segments.CODE)])
def test_an_interrupted_stage_goes_on_as_long_as_its_own_code_is_the_same(stages, stage, code):
    declared = {name for name in declared_code(stages[stage]) if name.startswith("diffsynth/")}
    assert {f"diffsynth/{name}" for name in code} == declared


def test_registering_a_model_or_adding_one_concerns_no_stage_of_others(stages):
    files = [f"diffsynth/models/{name}.py" for name in ("registry", "new/__init__", "new/network")]
    for stage in stages.values():
        assert not [file for file in files for place in declared_code(stage) if lies_in(file, place)]


# Parameters: what a command reads, again from the source.


def nodes(command, kind):
    """Nodes of one kind in the source of a command and of the modules of pipeline/ that it splits into."""
    files = closure(f"pipeline/{command}.py")
    for file in sorted(f for f in files if f.startswith("pipeline/") and not f.startswith(PLUMBING)):
        yield from (node for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, kind))


def read_params(command):
    """Sections that a command takes from an object named `params`; MODEL for that of the model."""
    names = {
        node.attr
        for node in nodes(command, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id == "params"
    }
    return {"MODEL" if name == "model" else name for name in names if name in {"model", *PARAMS}}


def logged_params(command):
    """Sections that a command names in its call of `stage`; a model that is not a constant is MODEL."""
    calls = [node for node in nodes(command, ast.Call) if getattr(node.func, "id", "") == "stage"]
    assert len(calls) == 1, f"{command} calls stage {len(calls)} times"
    name, _, sections = calls[0].args[:3]
    assert name.value == command
    return {node.value if isinstance(node, ast.Constant) else "MODEL" for node in sections.elts}


@pytest.mark.parametrize("command", list(YAML))
def test_parameters_are_declared_where_they_are_read_and_logged(command):
    declared = {"MODEL" if name == "${item.model}" else name for name in YAML[command]["params"]}
    assert read_params(command) - declared == set()
    assert logged_params(command) == declared - {"models", "blocks"}


def test_every_parameter_belongs_to_a_stage_and_exists(stages):
    used = set().union(*(params_of(stage) for stage in stages.values()))
    assert used == set(PARAMS)


# The graph.


def test_every_stage_resolves(stages):
    assert sorted(stages) == sorted(STAGES)


def test_every_stage_runs_a_command_that_understands_its_options(stages):
    for name, stage in stages.items():
        words = shlex.split(stage.cmd)
        command, _, cell = name.partition("@")
        assert words[:4] == ["python", "-m", "pipeline", command]
        if cell:
            model, _, block = cell.partition("-")
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
            cell = f"{model}-{block}"
            own = {f"{name}@{cell}" for name in MATRIX} | set(SINGLE) - {"compare"}
            assert networkx.descendants(graph, f"evaluate@{cell}") | {f"evaluate@{cell}"} == own


def test_a_parameter_of_one_model_concerns_its_training_alone(stages):
    for model in MODELS:
        concerned = {name for name, stage in stages.items() if model in params_of(stage)}
        assert concerned == {f"train@{model}-{block}" for block in BLOCKS}


def test_metrics_and_plots_are_declared(stages):
    for model in MODELS:
        for block in BLOCKS:
            for command, folder in (("evaluate", "metrics"), ("infer", "timings")):
                (metrics,) = (out for out in stages[f"{command}@{model}-{block}"].outs if out.metric)
                assert relative([metrics]) == {f"results/{folder}/{block}/{model}.json"}
                assert not metrics.use_cache
            plots = [out for out in stages[f"train@{model}-{block}"].outs if out.plot]
            assert f"results/train/{block}/{model}/loss.csv" in relative(plots)
    names = ("curves.csv", "rtf.png", "quality.png")
    assert relative(out for out in stages["compare"].outs if out.plot) == {
        f"results/compare/{n}" for n in names
    }


def test_git_ignores_what_stages_make_and_nothing_else(stages, tmp_path):
    made = set().union(*(relative(stage.outs) for stage in stages.values()))
    metrics = {name for name in made if name.startswith(("results/metrics/", "results/timings/"))}
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
    assert plot == {"results/compare/curves.csv": {"template": "curves", "x": "block", "y": "value"}}
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
        for name in deps - made - {"results/metrics", "results/timings"}:
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


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def reproduce(folder, params):
    """Names of the stages that ran."""
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return sorted(stage.name for stage in Repo(str(folder)).reproduce())


def cells(model):
    return {f"{name}@{model}-512" for name in MATRIX} | {"compare"}


def test_only_what_has_changed_runs_again(copy, monkeypatch):
    folder, params = copy
    monkeypatch.chdir(folder)
    assert reproduce(folder, params) == sorted({*SINGLE} | cells("lstm") | cells("s6"))
    # How this machine works is no part of it.
    for name in ("WORKERS", "THREADS", "CONNECTIONS", "CHECKPOINT_EVERY"):
        monkeypatch.setenv(f"DIFFSYNTH_{name}", "7")
    assert Repo(str(folder)).status() == {}
    # A model is added: its folder, a line in the table, its section and its name.
    write(folder / "diffsynth" / "models" / "registry.py", "lstm, s6, and a new one")
    assert Repo(str(folder)).status() == {}
    write(folder / "diffsynth" / "models" / NEW / "__init__.py", "a network")
    params = {**params, "models": [*params["models"], NEW], NEW: PARAMS[NEW]}
    assert reproduce(folder, params) == sorted(cells(NEW))
    params = {**params, "s6": {**params["s6"], "units": 104}}
    assert reproduce(folder, params) == sorted(cells("s6"))
