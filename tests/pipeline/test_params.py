import copy
import dataclasses
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.datasets.registry import SOURCES
from diffsynth.errors import UserError
from diffsynth.models.registry import MODELS
from diffsynth.models.s6 import S6
from pipeline import params as params_module
from pipeline.params import load_params, read_params

FILE = Path(__file__).parents[2] / "params.yaml"
TREE = yaml.safe_load(FILE.read_text())
SECTIONS = [name for name, value in TREE.items() if isinstance(value, dict)]
LEAVES = [(section, key) for section in SECTIONS for key in TREE[section]]


def write(folder, tree):
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def changed(section, key, value):
    tree = copy.deepcopy(TREE)
    tree[section][key] = value
    return tree


def test_the_committed_file_is_read_in_full():
    params = load_params(FILE)
    assert {name: params.values(name) for name in SECTIONS if name != "dataset"} == {
        name: TREE[name] for name in SECTIONS if name != "dataset"
    }
    assert (params.models, params.blocks) == (TREE["models"], TREE["blocks"])
    assert params.values("dataset") == {"name": "demo"}
    assert params.model("s6") == S6(**TREE["s6"])
    assert {*SECTIONS, "models", "blocks"} == {*params_module.SECTIONS, *MODELS}


def test_every_source_takes_its_own_keys_of_one_flat_section():
    taken = {}
    for name in SOURCES:
        params = load_params(FILE, {"dataset.name": name})
        assert params.dataset.name == name
        taken[name] = params.values("dataset")
        assert taken[name].items() <= {**TREE["dataset"], "name": name}.items()
    assert set().union(*taken.values()) == set(TREE["dataset"])
    assert set(taken["maestro"]) == {"name", "root", "years", "url"}


def test_only_the_keys_of_the_source_in_use_are_needed(tmp_path):
    tree = copy.deepcopy(TREE)
    tree["dataset"] = {"name": "maestro", "root": None, "years": "all", "url": "http://a"}
    assert load_params(write(tmp_path, tree)).dataset.years == "all"
    del tree["dataset"]["url"]
    with pytest.raises(UserError, match=r"missing parameter in .*: dataset: url$"):
        load_params(write(tmp_path, tree))


def test_a_file_that_is_missing_or_not_yaml_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.yaml does not exist"):
        load_params(tmp_path / "nothing.yaml")
    for content in (b"a: [1", b"\xff\xfe\x00", b"a: b: c"):
        (tmp_path / "bad.yaml").write_bytes(content)
        with pytest.raises(UserError, match=r"bad\.yaml is not readable as YAML") as error:
            load_params(tmp_path / "bad.yaml")
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="is not readable"):
        load_params(tmp_path)


@pytest.mark.parametrize("content", ["", "text", "- 1\n- 2\n", "3"])
def test_a_file_without_sections_is_refused(tmp_path, content):
    (tmp_path / "p.yaml").write_text(content)
    for overrides in (None, {"train.steps": 3}):
        with pytest.raises(UserError, match="must be a section"):
            load_params(tmp_path / "p.yaml", overrides)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_cannot_be_something_else(tmp_path, section):
    with pytest.raises(UserError, match=f"{section} must be a section, not None"):
        load_params(write(tmp_path, {**TREE, section: None}))


@pytest.mark.parametrize("section", [*SECTIONS, "models", "blocks"])
def test_a_missing_section_matters_to_who_asks_for_it(tmp_path, section):
    path = write(tmp_path, {name: value for name, value in TREE.items() if name != section})
    for overrides in (None, {f"{section}.seed": 3}):
        params = load_params(path, overrides)
        for other in {*SECTIONS, "models", "blocks"} - {section}:
            assert getattr(params, other)
        with pytest.raises(UserError) as error:
            getattr(params, section)
        assert str(error.value) == f"{path} has no section {section}, which this command needs"


@pytest.mark.parametrize(("section", "key"), LEAVES)
def test_every_parameter_is_needed_and_of_one_type(tmp_path, section, key):
    tree = copy.deepcopy(TREE)
    del tree[section][key]
    if section != "dataset" or key == "name":
        with pytest.raises(UserError, match=f"missing parameter in .*: {section}: {key}$"):
            load_params(write(tmp_path, tree))
    for wrong in ({"a": 1}, True, [None]):
        with pytest.raises(UserError, match=f": {section}: {key} must be "):
            load_params(write(tmp_path, changed(section, key, wrong)))


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_parameter_is_refused(tmp_path, section):
    with pytest.raises(UserError, match=f"unknown parameter in .*: {section}: xyz$"):
        load_params(write(tmp_path, changed(section, "xyz", 1)))
    with pytest.raises(UserError, match=r"unknown parameter in .*: xyz$"):
        load_params(write(tmp_path, {**TREE, "xyz": {}}))


@pytest.mark.parametrize(("section", "key"), LEAVES)
def test_a_mistyped_parameter_is_answered_with_the_nearest(tmp_path, section, key):
    tree = copy.deepcopy(TREE)
    tree[section][f"{key}x"] = tree[section].pop(key)
    with pytest.raises(UserError, match=rf": {section}: {key}x \(did you mean {key}\?\)$"):
        load_params(write(tmp_path, tree))


@pytest.mark.parametrize("section", SECTIONS)
def test_a_mistyped_section_is_answered_with_the_nearest(tmp_path, section):
    tree = {(f"{name}2" if name == section else name): value for name, value in TREE.items()}
    with pytest.raises(UserError, match=rf": {section}2 \(did you mean {section}\?\)$"):
        load_params(write(tmp_path, tree))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("models", ["unet2"], r"unknown model 'unet2': choose one of lstm, s6, unet \(did you mean unet\?\)"),
        ("models", "lstm", "must be a list, not 'lstm'"),
        ("blocks", [500], "unknown block 500: choose one of 512, 1024, 2048, 4096"),
        ("blocks", ["512"], "must be of type int, not '512'"),
        ("blocks", [512.0], "must be of type int, not 512.0"),
    ],
)
def test_unknown_cells_are_refused(tmp_path, key, value, message):
    with pytest.raises(UserError, match=message):
        load_params(write(tmp_path, {**TREE, key: value}))


def test_an_unknown_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'mine': choose one of demo, folder"):
        load_params(write(tmp_path, changed("dataset", "name", "mine")))


def test_the_section_of_an_unknown_model_is_refused():
    with pytest.raises(UserError, match="unknown model 'train'"):
        load_params(FILE).model("train")


def test_overrides_replace_values_unless_they_are_none():
    params = load_params(FILE, {"train.steps": 7, "train.seed": None, "blocks": [512]})
    expected = dataclasses.replace(load_params(FILE).train, steps=7)
    assert (params.train, params.blocks) == (expected, [512])
    with pytest.raises(UserError, match=r"unknown parameter in .*: train: colour$"):
        load_params(FILE, {"train.colour": 7})
    with pytest.raises(UserError, match="train: steps must be of type int"):
        load_params(FILE, {"train.steps": "7"})


@pytest.mark.parametrize(("text", "value"), [("1e-05", 1e-5), ("1e3", 1000.0), ("3", 3.0), ("2.5", 2.5)])
def test_floats_may_be_written_as_in_yaml_1_2(tmp_path, text, value):
    path = tmp_path / "p.yaml"
    old = f"learning_rate: {TREE['train']['learning_rate']}"
    content = yaml.safe_dump(TREE)
    assert old in content
    path.write_text(content.replace(old, f"learning_rate: {text}"))
    loaded = load_params(path).train.learning_rate
    assert (loaded, type(loaded)) == (value, float)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "fast"])
def test_floats_are_finite_numbers(tmp_path, value):
    with pytest.raises(UserError, match="train: learning_rate must be "):
        load_params(write(tmp_path, changed("train", "learning_rate", value)))


@given(st.sampled_from(LEAVES), st.integers(0, 10**6) | st.floats(0, 1e6) | st.text(max_size=5) | st.none())
def test_a_value_is_kept_or_refused_never_changed(leaf, value):
    section, key = leaf
    message = ""
    kept = value
    try:
        kept = read_params(changed(section, key, value), "p").values(section).get(key, value)
    except UserError as error:
        message = str(error)
    assert kept == (float(value) if isinstance(kept, float) else value)
    wrong = [f"{section}: {key} must be ", "unknown dataset "]
    wrong += ["noise_bands must be 0 or from 2 to bands", "gains of several ages need noise_bands"]
    assert not message or any(text in message for text in wrong)


FREE = {"floor"}  # numbers that may be negative
ZERO = {"program", "gain", "seed", "validation", "test", "max_offset", "max_drift", "max_residual"}
ZERO |= {"passes", "jitter", "min_matched", "context", "ema", "warmup", "learning_rate", "weight_decay"}
ZERO |= {"patience", "noise_bands", "band_layers", "dropout"}
NUMBERS = [
    (section, key)
    for section, key in LEAVES
    if isinstance(TREE[section][key], int | float) and key not in FREE
]


@pytest.mark.parametrize(("section", "key"), NUMBERS)
def test_numbers_out_of_range_are_refused_before_anything_runs(tmp_path, section, key):
    bound = "at least (0|1)|above 0"
    for wrong in (-1, -0.5) if isinstance(TREE[section][key], float) else (-1,):
        with pytest.raises(UserError, match=rf": {section}: {key} must be ({bound}), not -"):
            load_params(write(tmp_path, changed(section, key, wrong)))
    tree = changed(section, key, 0)
    if key == "noise_bands":
        tree["features"]["ages"] = [1.0]
    path = write(tmp_path, tree)
    if key in ZERO:
        assert load_params(path).values(section).get(key, 0) == 0
    else:
        with pytest.raises(UserError, match=rf": {section}: {key} must be (at least 1|above 0), not 0"):
            load_params(path)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("align", "min_matched", 1.5, "must be at most 1, not 1.5"),
        ("shard", "segment", 1e6, "must be at most 600, not 1000000.0"),
        ("fit", "jitter", 0.4, "must be at most 0.1, not 0.4"),
        ("diffusion", "ema", 1.1, "must be at most 1, not 1.1"),
        ("diffusion", "validation_sigmas", [0.2, -0.1], "must be at least 0, not -0.1"),
        ("diffusion", "validation_sigmas", [], "must not be empty"),
        ("evaluate", "fft_sizes", [1024, 2], "must be at least 4, not 2"),
        ("train", "seed", 2**63, "must be at most 9.22337e"),
    ],
)
def test_other_bounds(tmp_path, section, key, value, message):
    with pytest.raises(UserError) as refusal:
        load_params(write(tmp_path, changed(section, key, value)))
    assert f": {section}: {key} {message}" in str(refusal.value)
