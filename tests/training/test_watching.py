"""Training that stops by itself: nothing improves any more, or nothing is finite."""

import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from support.small_training import TRAIN, assert_equal, make_trainer, models, parameters, run

from diffsynth.training.watching import HEARD, DivergedError, is_stale


@pytest.mark.parametrize(
    ("values", "patience", "stale"),
    [
        ([3.0, 2.0, 2.5, 2.1], 2, True),
        ([3.0, 2.0, 2.5, 2.1], 3, False),
        ([3.0, 2.0, 2.0], 1, True),
        ([3.0, 2.0, 1.9], 1, False),
        ([2.0], 1, False),
        ([2.0, math.nan, math.nan], 2, True),
        ([math.nan, math.nan, 2.0], 2, False),
        ([3.0, 3.0, 3.0], 0, False),
        ([], 1, False),
    ],
)
def test_a_run_is_stale_when_the_last_validations_bring_nothing(values, patience, stale):
    assert is_stale([{HEARD: value} for value in values], patience) == stale


def heard(*values):
    left = iter(values)
    return lambda _: {HEARD: next(left)}


def test_training_stops_after_validations_that_bring_nothing():
    train = replace(TRAIN, steps=20, patience=2)
    trainer = make_trainer(train=train, listen=heard(5.0, 4.0, 4.1, 4.0, 1.0))
    rows = run(trainer)
    assert len(rows) == trainer.progress.step == 8
    assert [row[HEARD] for row in trainer.progress.history] == [5.0, 4.0, 4.1, 4.0]
    assert run(trainer) == []
    resumed = make_trainer(train=train)
    resumed.restore(trainer.tensors(), json.loads(json.dumps(asdict(trainer.progress))))
    assert run(resumed) == []


class Spoiled:
    """Examples of which some steps are not finite, as a recording with a broken sample would make them."""

    def __init__(self, examples, steps):
        self._examples, self._steps = examples, steps

    def draw(self, step, *rows):
        batch = self._examples.draw(step, *rows)
        if step in self._steps:
            batch.x[:, -1] = math.inf
        return batch

    def __getattr__(self, name):
        return getattr(self._examples, name)


def spoiled(model, *steps, train=TRAIN):
    trainer = make_trainer(model, train)
    trainer._data = Spoiled(trainer._data, steps)
    return trainer


@models
def test_a_step_that_is_not_finite_is_skipped_and_counted(model):
    trainer = spoiled(model, 2, 4)
    rows, states = [], []
    for row in trainer.steps():
        rows.append(row)
        states.append(trainer.tensors())
    assert [row["skipped"] for row in rows] == [0, 0, 1, 1, 2, 2]
    assert ["loss" in row for row in rows] == [True, True, False, True, False, True]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert_equal(states[2], states[1])
    assert not torch.equal(states[3]["denoiser." + next(iter(parameters(trainer)))], torch.zeros(()))
    assert any(not torch.equal(states[3][name], value) for name, value in states[2].items())


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been_around_skipped_steps(stop):
    whole = spoiled("lstm", 2, 3)
    rows = run(whole)
    first = spoiled("lstm", 2, 3)
    early = run(first, stop)
    resumed = spoiled("lstm", 2, 3)
    resumed.restore(first.tensors(), json.loads(json.dumps(asdict(first.progress))))
    assert [*early, *run(resumed)] == rows
    assert_equal(resumed.tensors(), whole.tensors())
    assert resumed.progress == whole.progress


def test_gradients_that_are_not_finite_count_as_well():
    trainer = make_trainer("lstm", replace(TRAIN, validate_every=6))
    run(trainer, 1)
    before = trainer.tensors()
    weight = next(iter(trainer.denoiser.parameters()))
    weight.register_hook(lambda gradient: gradient * math.inf)
    assert [row["skipped"] for row in run(trainer, 2)] == [1, 2]
    assert_equal(trainer.tensors(), before)


def test_too_many_in_a_row_end_the_run_at_its_last_good_step():
    trainer = spoiled("lstm", 1, *range(3, 9), train=replace(TRAIN, steps=9, validate_every=4))
    with pytest.raises(DivergedError) as error:
        run(trainer)
    assert str(error.value).startswith("training diverged: in steps 4 to 6 ")
    assert (trainer.progress.step, trainer.progress.skipped, trainer.progress.in_a_row) == (3, 1, 0)
    assert trainer.progress.history == []
    good = spoiled("lstm", 1, train=replace(TRAIN, steps=9, validate_every=4))
    run(good, 3)
    kept, expected = trainer.tensors(), good.tensors()
    trained = [name for name in expected if not name.startswith("best.")]  # which was chosen after step 4
    assert_equal({name: kept[name] for name in trained}, {name: expected[name] for name in trained})
