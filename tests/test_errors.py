"""What messages share: the name of this project, and text that every terminal takes."""

import re
import tomllib
from pathlib import Path

import pytest

from diffsynth.errors import DISTRIBUTION, UserError, printable, to_install

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_distribution_is_not_called_like_another_project():
    assert PROJECT["name"] == DISTRIBUTION == "diffsynth-piano"
    assert list(PROJECT["scripts"]) == ["diffsynth"]
    assert to_install("live") == "pip install 'diffsynth-piano[live]'"


def test_every_hint_to_install_names_this_project_and_an_extra_it_has():
    sources = [file.read_text() for name in ("diffsynth", "pipeline") for file in (ROOT / name).rglob("*.py")]
    asked = {extra for source in sources for extra in re.findall(r"to_install\(['\"](\w+)['\"]\)", source)}
    assert asked <= PROJECT["optional-dependencies"].keys()
    assert [line for source in sources for line in re.findall(r".*pip install.*", source)] == [
        "    return f\"pip install '{DISTRIBUTION}[{extra}]'\""
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("Für Elise", "Für Elise"), ("caf\udce9", r"caf\xe9"), ("caf\udcc3\udca9", "café"), ("", "")],
)
def test_bytes_that_are_not_utf8_are_spelled_out(text, shown):
    assert printable(text) == printable(Path(text) if text else text) == str(UserError(text)) == shown
