"""Averaged weights, what validation finds, and settings that cannot work."""

import math
from dataclasses import replace

import pytest
import torch
from support.small_training import (
    TARGETS,
    TRAIN,
    assert_equal,
    examples,
    feature_set,
    make_trainer,
    models,
    opposite,
    parameters,
    run,
)

from diffsynth.errors import UserError


def test_the_averaged_weights_follow_the_trained_ones():
    trainer = make_trainer(train=replace(TRAIN, steps=30, validate_every=100))
    average = parameters(trainer)
    for step, _ in enumerate(trainer.steps()):
        decay = min(0.9, (1 + step) / (10 + step))
        average = {name: decay * average[name] + (1 - decay) * v for name, v in parameters(trainer).items()}
    found = {
        k.removeprefix("averaged."): v for k, v in trainer.tensors().items() if k.startswith("averaged.")
    }
    torch.testing.assert_close(found, average, rtol=1e-4, atol=1e-6)


@models
def test_validation_hears_the_averaged_network_and_leaves_training_alone(model):
    heard = []

    def listen(network):
        assert not network.training
        heard.append({name: value.clone() for name, value in network.state_dict().items()})
        return {"streamed_lsd": float(len(heard))}

    train = replace(TRAIN, steps=12)
    often = make_trainer(model, replace(train, validate_every=1), validation=opposite(), listen=listen)
    rows = run(often)
    seldom = make_trainer(model, replace(train, validate_every=100), validation=opposite())
    last = run(seldom)[-1]
    assert_equal(parameters(often), parameters(seldom))
    assert [row["streamed_lsd"] for row in rows] == list(range(1, 13))
    assert "one_step_db" in last  # the last step is always validated
    averaged = {k.removeprefix("averaged."): v for k, v in seldom.tensors().items() if k[:9] == "averaged."}
    assert_equal(heard[-1], averaged)
    errors = [row["one_step_db"] for row in rows]
    best = errors.index(min(errors))
    assert best < 11  # and not the last
    assert often.progress.best == errors[best]
    assert_equal(often.best, heard[best])
    history = [{"step": 1 + i, **row} for i, row in enumerate(rows)]
    for row in history:
        del row["loss"], row["learning_rate"], row["skipped"]
    assert often.progress.history == history


def test_validation_errors_by_hand():
    trainer = make_trainer()  # a fresh network answers 0
    row = trainer._validate()
    assert row["one_step_db"] == pytest.approx(8.686, rel=1e-3)
    # v = alpha n - beta x; E n^2 = 1 and E x^2 is the mean square, each counted by its weight.
    gains, weight = TARGETS(feature_set(4, seed=9).levels)
    power = (weight * gains**2).sum() / weight.sum()
    for sigma in (0.2, 0.8):
        expected = math.cos(math.pi * sigma / 2) ** 2 + math.sin(math.pi * sigma / 2) ** 2 * power
        assert row[f"validation_loss_{sigma}"] == pytest.approx(expected, rel=0.06)
    assert row["validation_loss"] == pytest.approx(
        (row["validation_loss_0.2"] + row["validation_loss_0.8"]) / 2
    )


@pytest.mark.parametrize(("epochs", "steps"), [(1, 3), (3, 8), (10, 25), (100, 250)])
def test_epochs_are_steps_that_see_every_frame_so_often(epochs, steps):
    # 40 of 48 frames count, and 24 of the 32 of a sequence: 2 for each of 5 segments, 4 in a step.
    assert examples().steps(epochs) == steps
    short = replace(TRAIN, sequence=8, warmup=0)
    assert examples(feature_set(1, 8), short).steps(1) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sequence": 49}, "train.sequence is longer than a segment, which has 48 hops"),
        (
            {"sequence": 3, "warmup": 0},
            "train.sequence, in whole blocks of 4 hops, must exceed train.warmup",
        ),
        ({"sequence": 11}, "train.sequence, in whole blocks of 4 hops, must exceed train.warmup"),
        *(
            ({name: 0}, f"train.{name} must be at least 1")
            for name in ("steps", "batch_size", "mini_batch_size", "sequence", "validate_every")
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(UserError) as error:
        make_trainer(train=replace(TRAIN, **change))
    assert str(error.value) == message


def test_a_run_that_diverges_stops():
    trainer = make_trainer(train=replace(TRAIN, learning_rate=1e30))
    with pytest.raises(UserError, match=r"training diverged: in steps [2-4] to [4-6] "):
        run(trainer)
