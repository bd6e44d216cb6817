"""Every stage declares the code that it runs and the parameters that it reads, and nothing else."""

import ast
from importlib.util import find_spec

import pytest
from support.pipeline_stages import (
    MATRIX,
    PARAMS,
    ROOT,
    SINGLE,
    YAML,
    command_of,
    is_code,
    params_of,
    relative,
)

from diffsynth.alignment import performances
from diffsynth.audio.format import BLOCKS
from diffsynth.models.registry import MODELS
from diffsynth.representation import feature_shards
from diffsynth.shards import writing
from pipeline.app import COMMANDS

# They record runs, name places and check what they read, and cannot change a result: see dvc.yaml.
PLUMBING = (
    *(f"pipeline/{name}.py" for name in ("__init__", "stage", "paths", "params", "machine")),
    *("diffsynth/runs/", "diffsynth/config.py", "diffsynth/errors.py", "diffsynth/models/registry.py"),
)
# Only --transcribe needs it, which no stage has.
OPTIONAL = ("diffsynth/transcription/",)
# They name all sections, models and blocks: what is used of them is imported elsewhere, or chosen by name.
TABLES = ("pipeline/params.py", "pipeline/stage.py", "diffsynth/models/registry.py")
# A representative of every matrix and every model is enough where blocks do not differ.
CODE = SINGLE + [f"{name}@{model}-{BLOCKS[0]}" for name in MATRIX for model in MODELS]


def model_of(stage):
    _, _, variant = stage.name.partition("@")
    return variant.partition("-")[0]


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


def declared_code(stage):
    """Files and folders of code that a stage declares."""
    return {name for name in relative(stage.deps) if is_code(name)}


def needed_code(stage):
    """Files of code that a stage runs and that can change its result."""
    command, start = command_of(stage), [f"pipeline/{command_of(stage)}.py"]
    if command in ("train", "infer"):
        start.append(f"diffsynth/models/{model_of(stage)}/__init__.py")
    return {file for file in closure(*start) if not file.startswith(PLUMBING + OPTIONAL)}


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
    for name, most in {"download": 3, "align": 4, "shard": 3, "fit": 4, "evaluate": 3, "compare": 2}.items():
        stage = next(stage for stage in stages.values() if command_of(stage) == name)
        assert len([place for place in declared_code(stage) if place.startswith("diffsynth/")]) <= most


@pytest.mark.parametrize(
    ("stage", "code"),
    [("align", performances.CODE), ("shard", writing.CODE), ("features", feature_shards.CODE)],
)
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
