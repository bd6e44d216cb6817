"""The folders of the library: who may import whom, and what docs/architecture.md says of them."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = {"__init__", "config", "errors"}  # the only modules of the library outside a folder
FILES = sorted([*ROOT.glob("diffsynth/**/*.py"), *ROOT.glob("pipeline/**/*.py")])


def part_of(file):
    """The folder of the library that a file lies in, or the module itself; all of pipeline/ is one part."""
    place = file.relative_to(ROOT).with_suffix("").parts
    return "pipeline" if place[0] == "pipeline" else place[1]


def imported(source):
    """Names of all modules that a source text imports, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "the project imports by full names only"
            # `from diffsynth import errors` names the module in the second part.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_parts(source):
    """Parts of this project that a source text imports; constants of the package itself do not count."""
    parts = {place.stem for place in (ROOT / "diffsynth").iterdir()}
    for name in imported(source):
        top, part, *_ = *name.split("."), ""
        if top == "pipeline":
            yield top
        elif top == "diffsynth" and part in parts:
            yield part


@pytest.fixture(scope="module")
def graph():
    """For each part, the others that it imports."""
    result = {}
    for file in FILES:
        part = part_of(file)
        result.setdefault(part, set()).update(set(imported_parts(file.read_text())) - {part})
    return result


@pytest.fixture(scope="module")
def levels():
    """Level of every part, as the table in docs/architecture.md gives it."""
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", (ROOT / "docs" / "architecture.md").read_text(), re.M)
    named = [(name, int(level)) for level, cell in rows for name in re.findall(r"`(\w+)(?:/|\.py)?`", cell)]
    assert len(dict(named)) == len(named), "a part stands on two levels"
    return dict(named)


def test_the_reader_of_imports_sees_all_forms_of_them():
    source = """
import diffsynth
import diffsynth.midi.events
from diffsynth import __version__, errors
from diffsynth.audio.files import Audio
import numpy.fft

def command():
    from pipeline.stage import stage
"""
    assert sorted(imported_parts(source)) == ["audio", "errors", "midi", "pipeline"]


def test_folders_do_not_import_each_other_in_a_circle(graph):
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the folders


def test_a_circle_would_be_found():
    with pytest.raises(ValueError, match="cycle"):
        TopologicalSorter({"midi": {"audio"}, "audio": {"midi"}}).prepare()


def test_the_library_does_not_import_the_pipeline(graph):
    assert [part for part, others in graph.items() if "pipeline" in others] == []


def test_modules_of_the_library_lie_in_folders():
    assert {file.stem for file in (ROOT / "diffsynth").glob("*.py")} == SHARED


def test_every_folder_is_a_package_with_a_line_of_documentation():
    for folder in {file.parent for file in FILES}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def test_the_page_names_every_part_and_no_other(graph, levels):
    assert set(levels) == set(graph) - {"__init__"}


def test_imports_go_down_the_levels_of_the_page(graph, levels):
    upward = [
        f"{part} imports {other}"
        for part, others in graph.items()
        for other in others - {"__init__"}
        if part != "__init__" and levels[other] >= levels[part]
    ]
    assert upward == []


def test_runs_are_tracked_in_one_place():
    using = {
        file.relative_to(ROOT).as_posix()
        for file in FILES
        if any(name.split(".")[0] in ("mlflow", "dvc") for name in imported(file.read_text()))
    }
    names = ("mlflow_store", "model_registry", "run_tree", "tracking")
    assert using == {f"diffsynth/runs/{name}.py" for name in names}
