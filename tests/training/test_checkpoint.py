"""Checkpoints: what was saved comes back, and only for what it was saved for."""

import math
import os

import pytest
import torch
from support.own_process import python

from diffsynth.errors import UserError
from diffsynth.training.checkpoint import load_checkpoint, read_origin, save_checkpoint
from diffsynth.training.origin import Origin, named

NUMBERS = {"progress": {"step": 3, "best": math.inf, "history": [{"x": 0.1 + 0.2}]}, "run_id": "r"}
ORIGIN = Origin({"train.steps": 8, "train.seed": 0}, {"shards/index.json": "aa"}, {"diffsynth/a.py": "bb"})


def tensors():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, generator=generator)
    return {"a": values, "turned": values.T, "step": torch.tensor(7.0), "half": values.half()}


def test_tensors_and_numbers_come_back_as_they_were(tmp_path):
    path = tmp_path / "512" / "s6.safetensors"
    assert load_checkpoint(path, ORIGIN) is None
    assert read_origin(path) is None
    save_checkpoint(path, ORIGIN, tensors(), NUMBERS)
    found = load_checkpoint(path, ORIGIN)
    assert (found.numbers, found.differences, read_origin(path)) == (NUMBERS, [], ORIGIN)
    assert found.tensors.keys() == tensors().keys()
    for name, value in tensors().items():
        assert found.tensors[name].dtype == value.dtype
        assert torch.equal(found.tensors[name], value)


@pytest.mark.parametrize(
    ("now", "what", "acceptable"),
    [
        ({"configuration": {"train.steps": 9, "train.seed": 0}}, "train.steps is 9 and was 8", True),
        ({"configuration": {"train.steps": 8, "train.seed": 1}}, "train.seed is 1 and was 0", False),
        ({"configuration": {"train.steps": 8}}, "train.seed is None and was 0", False),
        ({"data": {"shards/index.json": "ab"}}, "shards/index.json has changed", False),
        ({"data": {}}, "shards/index.json is gone", False),
        ({"code": {"diffsynth/a.py": "ba"}}, "diffsynth/a.py has changed", True),
        ({"code": {"diffsynth/a.py": "bb", "diffsynth/b.py": "cc"}}, "diffsynth/b.py is new", True),
    ],
)
def test_what_differs_is_named_and_must_be_accepted(tmp_path, now, what, acceptable):
    path = tmp_path / "s6.safetensors"
    save_checkpoint(path, ORIGIN, tensors(), NUMBERS)
    other = Origin(**{**vars(ORIGIN), **now})
    assert other.stamp != ORIGIN.stamp
    with pytest.raises(UserError) as error:
        load_checkpoint(path, other)
    use = "--resume-anyway to go on from it, " if acceptable else ""
    advice = f"use {use}--restart to train from the beginning, or remove {path}"
    assert str(error.value) == f"{path} belongs to another run: {what}; {advice}"
    found = load_checkpoint(path, other, lambda difference: True)
    assert [(str(each), each.acceptable) for each in found.differences] == [(what, acceptable)]


def test_of_many_differences_three_are_named():
    differences = Origin({}, {}, {str(number): "" for number in range(5)}).differences(Origin({}, {}, {}))
    assert named(differences) == "0 is new, 1 is new, 2 is new, 2 more"


def test_a_damaged_checkpoint_or_one_of_another_version_is_refused_in_one_line(tmp_path):
    path = tmp_path / "s6.safetensors"
    save_checkpoint(path, ORIGIN, tensors(), NUMBERS)
    advice = f"use --restart to train from the beginning, or remove {path}"
    whole = path.read_bytes()
    for content in (whole[:-5], whole[:30], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            load_checkpoint(path, ORIGIN)
        assert str(error.value) == f"{path} is damaged: {advice}"
    path.write_bytes(whole.replace(b'"origin"', b'"0rigin"'))
    with pytest.raises(UserError) as error:
        load_checkpoint(path, ORIGIN)
    assert str(error.value) == f"{path} was written by another version of diffsynth: {advice}"


def test_an_origin_depends_on_values_names_and_contents(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    origin = Origin.of({"a": {"b": 1, "c": (2.0,)}}, {"x": one}, {"y": two})
    assert origin.configuration == {"a.b": 1, "a.c": [2.0]}
    assert origin == Origin.of({"a": {"c": [2.0], "b": 1}}, {"x": one}, {"y": two})
    one.write_text("1 ")
    others = [
        Origin.of({"a": {"b": 1, "c": [2.0]}}, {"x": one}, {"y": two}),
        Origin.of({"a": {"b": 1, "c": [2.5]}}, {"x": two}, {"y": two}),
        Origin.of({"a": {"b": 1, "c": [2.0]}}, {"z": two}, {"y": two}),
        Origin.of({"a": {"b": 1, "c": [2.0]}}, {"x": two}, {"y": one}),
    ]
    assert len({origin.stamp, *(other.stamp for other in others)}) == 5


FULL = """
import resource, signal, torch
from pathlib import Path
from diffsynth.errors import UserError
from diffsynth.training.checkpoint import save_checkpoint
from diffsynth.training.origin import Origin
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    save_checkpoint(Path("a.safetensors"), Origin({}, {}, {}), {"x": torch.zeros(9999)}, {})
except UserError as error:
    print(error)
"""


def test_a_full_disk_is_one_line_and_costs_no_earlier_checkpoint(tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, ORIGIN, tensors(), NUMBERS)
    line = python(FULL, tmp_path)
    assert line.startswith("the checkpoint a.safetensors cannot be written: ")
    assert line.endswith("; the one before it is kept\n")
    assert line.count("\n") == 1
    assert load_checkpoint(path, ORIGIN).numbers == NUMBERS
    assert os.listdir(tmp_path) == ["a.safetensors"]
