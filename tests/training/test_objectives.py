"""What networks are trained for, by hand, and what each makes them say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.small_training import (
    DIFFUSION,
    TRAIN,
    examples,
    feature_set,
    make_trainer,
    models,
    run,
    spectra,
)

from diffsynth.errors import UserError
from diffsynth.training import trainer as trainer_module
from diffsynth.training.objectives import OBJECTIVES, Draws, objective_of


def said(x):
    """A network that says x in one step, whatever the noise."""
    return lambda x_t, sigma: -x


def by_noise(x_t, sigma):
    """A network that says its own noise."""
    return -x_t


def draws_of(name, batch, seed=0):
    return OBJECTIVES[name].draw(batch.x.shape, torch.Generator().manual_seed(seed))


def test_what_is_wanted_is_heard_as_the_recording():
    data = examples()
    batch = data.draw(0)
    still = replace(batch, x=batch.x[:, :1, :1].expand_as(batch.x))  # gains that stand still
    levels = batch.levels[:, :1, :1].expand_as(batch.levels)
    still = replace(still, levels=levels)
    np.testing.assert_allclose(data.heard(still.x, still), data.recorded(still), atol=0.05)


@pytest.mark.parametrize("name", ["regression", "energy"])
def test_errors_by_hand(name):
    data, objective = examples(), OBJECTIVES[name]
    batch = data.draw(0)
    draws = draws_of(name, batch)
    heard, recorded = (x.double() for x in (data.heard(0 * batch.x, batch), data.recorded(batch)))
    counts = batch.learned[..., 0].bool()
    difference = (heard - recorded)[counts]
    # Both draws of a network that overlooks its noise are the same: no distance between them.
    rows = difference.abs().mean(-1) if name == "regression" else difference.square().mean(-1).sqrt()
    found = objective.error(said(0 * batch.x), data, batch, draws) / objective.total(batch)
    assert float(found) == pytest.approx(float(rows.mean()), rel=1e-4)
    if name == "energy":
        own = [data.heard(draws.noise[:, i], batch) for i in range(2)]
        far = [(each - recorded).square().mean(-1).sqrt() for each in own]
        apart = (own[0] - own[1]).square().mean(-1).sqrt()
        expected = (0.5 * (far[0] + far[1]) - 0.5 * apart)[counts].mean()
        found = objective.error(by_noise, data, batch, draws) / objective.total(batch)
        assert float(found) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_errors_of_parts_add_up(name):
    data, objective = examples(spectra=spectra()), OBJECTIVES[name]
    batch = data.draw(0)
    draws = draws_of(name, batch)
    whole = objective.error(by_noise, data, batch, draws)
    parts = [
        objective.error(by_noise, data, batch.part(rows), draws.part(rows))
        for rows in (slice(0, 1), slice(1, 4))
    ]
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-5)


def test_the_energy_score_is_least_for_the_distribution_itself():
    """Of draws from normal distributions of several widths, those as wide as the data score least."""

    class Plain:
        def heard(self, x, batch):
            return x

        def recorded(self, batch):
            return batch.x

    batch = examples().draw(0)
    shape = (4, 50, 20, 6)
    generator = torch.Generator().manual_seed(0)
    wide = replace(batch, x=torch.randn(shape, generator=generator), learned=torch.ones(*shape[:3], 1))
    draws = Draws(torch.randn((4, 2, *shape[1:]), generator=generator), torch.ones(4, 50))
    score = {
        width: float(OBJECTIVES["energy"].error(lambda x_t, s, w=width: -w * x_t, Plain(), wide, draws))
        for width in (0.0, 0.5, 1.0, 1.5)
    }
    assert min(score, key=score.get) == 1.0


@models
@pytest.mark.parametrize("name", ["regression", "energy", "spectra"])
def test_what_is_heard_is_learned_in_one_step(monkeypatch, model, name):
    diffusion = replace(DIFFUSION, objective=name)
    monkeypatch.setattr("support.small_training.DIFFUSION", diffusion)
    train = replace(TRAIN, steps=120, batch_size=8, mini_batch_size=8)
    trainer = make_trainer(model, train, feature_set(9))
    rows = run(trainer)
    measured = "validation_loss" if name == "spectra" else "one_step_db"
    assert rows[-1][measured] < 0.25 * rows[1][measured]
    if name != "energy":  # a network that regresses answers the same whatever the noise
        network, batch = trainer.result().eval(), examples().draw(0)
        context = network.encode(batch.cond, network.initial_state(4))[0]
        first, second = (
            network.denoise(torch.full_like(batch.x, n), torch.ones(batch.x.shape[:2]), context)
            for n in (0.0, 1.0)
        )
        assert torch.equal(first, second)


def test_the_best_network_is_chosen_by_the_objective(monkeypatch):
    monkeypatch.setattr("support.small_training.DIFFUSION", replace(DIFFUSION, objective="energy"))
    trainer = make_trainer()
    rows = [row for row in run(trainer) if "one_step_db" in row]
    assert trainer.progress.best == min(row["validation_loss"] for row in rows)


def test_an_unknown_objective_is_refused():
    with pytest.raises(UserError, match=r"unknown diffusion.objective 'velocty'.*did you mean velocity"):
        objective_of("velocty")
    assert trainer_module.objective_of is objective_of
