"""Checkpoints: what was saved comes back, and only for what it was saved for."""

import math

import pytest
import torch

from diffsynth.errors import UserError
from diffsynth.training.checkpoint import load_checkpoint, run_stamp, save_checkpoint

NUMBERS = {"progress": {"step": 3, "best": math.inf, "history": [{"x": 0.1 + 0.2}]}, "run_id": "r"}


def tensors():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, generator=generator)
    return {"a": values, "turned": values.T, "step": torch.tensor(7.0), "half": values.half()}


def test_tensors_and_numbers_come_back_as_they_were(tmp_path):
    path = tmp_path / "512" / "s6.safetensors"
    assert load_checkpoint(path, "stamp") is None
    save_checkpoint(path, "stamp", tensors(), NUMBERS)
    found, numbers = load_checkpoint(path, "stamp")
    assert numbers == NUMBERS
    assert found.keys() == tensors().keys()
    for name, value in tensors().items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_a_checkpoint_of_something_else_or_damaged_is_refused_in_one_line(tmp_path):
    path = tmp_path / "s6.safetensors"
    save_checkpoint(path, "stamp", tensors(), NUMBERS)
    advice = f"use --restart to train from the beginning, or remove {path}"
    with pytest.raises(UserError) as error:
        load_checkpoint(path, "other")
    assert str(error.value) == f"{path} belongs to another configuration, other data or other code: {advice}"
    whole = path.read_bytes()
    for content in (whole[:-5], whole[:30], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            load_checkpoint(path, "stamp")
        assert str(error.value) == f"{path} is damaged: {advice}"


def test_a_stamp_depends_on_configuration_and_contents_alone(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    stamp = run_stamp({"a": 1, "b": [2.0]}, [one, two])
    assert stamp == run_stamp({"b": [2.0], "a": 1}, [one, two])
    two.rename(tmp_path / "three")
    assert stamp == run_stamp({"a": 1, "b": [2.0]}, [one, tmp_path / "three"])
    others = [
        run_stamp({"a": 1, "b": [2.5]}, [one, tmp_path / "three"]),
        run_stamp({"a": 1, "b": [2.0]}, [tmp_path / "three", one]),
        run_stamp({"a": 1, "b": [2.0]}, [one]),
    ]
    one.write_text("1 ")
    others.append(run_stamp({"a": 1, "b": [2.0]}, [one, tmp_path / "three"]))
    assert len({stamp, *others}) == 5
