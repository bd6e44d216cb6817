"""Training: what it learns, what every step does, and that an interruption changes nothing."""

import json
import math
from dataclasses import asdict, replace
from itertools import islice

import numpy as np
import pytest
import torch

from diffsynth import diffusion
from diffsynth.errors import UserError
from diffsynth.models.lstm import Lstm
from diffsynth.models.s6 import S6
from diffsynth.models.unet import Unet
from diffsynth.representation.features import FeatureSet
from diffsynth.representation.gain_field import Normaliser
from diffsynth.training.batches import Batch, GainExamples
from diffsynth.training.config import Diffusion, Train
from diffsynth.training.random_streams import STRIDE, batch_seed, dropout_seed, weights_seed
from diffsynth.training.trainer import Trainer

BANDS, COND, FRAMES = 6, 4, 4
TRAIN = Train(
    steps=6,
    batch_size=4,
    mini_batch_size=4,
    sequence=32,
    warmup=8,
    learning_rate=1e-2,
    weight_decay=1e-2,
    clip=1.0,
    validate_every=2,
    stream_seconds=1.0,
    seed=3,
)
DIFFUSION = Diffusion(ema=0.9, validation_sigmas=[0.2, 0.8])
NETWORKS = {"lstm": Lstm(16, 1, 12), "s6": S6(16, 1, 4, 2, 3, 12)}
models = pytest.mark.parametrize("model", NETWORKS)


def feature_set(segments=5, frames=48, seed=0):
    """Gains of +1 or -1 neper in all bands, as the first condition says; the others mean nothing."""
    generator = torch.Generator().manual_seed(seed)
    cond = torch.randn(segments, frames, COND, generator=generator)
    sign = torch.randn(segments, frames // 8, generator=generator).sign().repeat_interleave(8, 1)
    cond[..., 0] = sign
    gains = sign[..., None] * torch.linspace(0.5, 1.5, BANDS)
    return FeatureSet(cond.half(), gains.half(), torch.ones_like(gains).half())


def examples(data=None, train=TRAIN):
    normaliser = Normaliser(np.zeros(BANDS, np.float32), np.ones(BANDS, np.float32))
    return GainExamples(feature_set() if data is None else data, normaliser, FRAMES, train)


def make_trainer(model="lstm", train=TRAIN, data=None, weights=0, **options):
    torch.manual_seed(weights)
    network = NETWORKS[model].new_denoiser(BANDS, COND)
    validation = examples(feature_set(4, seed=9), train)
    return Trainer(network, examples(data, train), validation, train, DIFFUSION, **options)


def run(trainer, steps=None):
    return list(islice(trainer.steps(), steps))


def parameters(trainer):
    return {name: value.clone() for name, value in trainer.denoiser.state_dict().items()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@models
def test_gains_that_follow_the_condition_are_learned(model):
    rows = run(make_trainer(model, replace(TRAIN, steps=150, batch_size=8, mini_batch_size=8)))
    # Without the condition, the best answer is 0: it misses by 1 neper, which is 8.686 dB, on average.
    before, after = rows[1], rows[-1]
    assert before["one_step_db"] == pytest.approx(8.686, rel=0.15)
    assert after["one_step_db"] < 0.15 * 8.686
    assert np.mean([row["loss"] for row in rows[-20:]]) < 0.25 * np.mean([row["loss"] for row in rows[:5]])
    assert after["validation_loss"] < 0.5 * before["validation_loss"]


@models
@pytest.mark.parametrize("stop", [1, 2, 5])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(model, stop):
    whole = make_trainer(model)
    rows = run(whole)
    first = make_trainer(model)
    early = run(first, stop)
    tensors, progress = first.tensors(), json.loads(json.dumps(asdict(first.progress)))
    resumed = make_trainer(model, weights=99)
    resumed.restore(tensors, progress)
    assert [*early, *run(resumed)] == rows
    assert_equal(resumed.tensors(), whole.tensors())
    assert resumed.progress == whole.progress


def test_a_checkpoint_is_a_copy():
    trainer = make_trainer()
    run(trainer, 2)
    tensors = trainer.tensors()
    before = {name: value.clone() for name, value in tensors.items()}
    run(trainer)
    assert_equal(tensors, before)


def test_the_seed_decides_the_run():
    one, same = (make_trainer() for _ in range(2))
    other = make_trainer(train=replace(TRAIN, seed=4))
    rows = [run(trainer) for trainer in (one, same, other)]
    assert rows[0] == rows[1] != rows[2]
    assert_equal(same.tensors(), one.tensors())


def test_the_learning_rate_rises_and_falls_as_a_cosine():
    trainer = make_trainer(train=replace(TRAIN, steps=100, learning_rate=2.0, validate_every=100))
    rates = [row["learning_rate"] for row in run(trainer)]
    # 5 steps of rise; cos(pi / 4) at a quarter of the way.
    assert rates[0] == pytest.approx(2 * 0.2)
    assert rates[1] == pytest.approx(2 * 0.4 * 0.99975, rel=1e-5)
    assert rates[4] == pytest.approx(1 + math.cos(math.pi * 0.04))
    assert rates[25] == pytest.approx(1 + math.sqrt(0.5))
    assert rates[50] == pytest.approx(1.0)
    assert rates[75] == pytest.approx(1 - math.sqrt(0.5))
    assert rates[99] == pytest.approx(2 * 0.000246720, rel=1e-5)


def reference_update(trainer, step):
    """Loss and weights of one step, from the sequences that the trainer draws: the weighted mean of all."""
    config = trainer.config
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    network = trainer.denoiser
    batch = examples(uneven()).draw(config.batch_size, generator)
    cond, x, weight = batch.cond, batch.x, batch.weight
    assert batch.state is None
    sigma = torch.rand(x.shape[:2], generator=generator)
    noise = torch.randn(x.shape, generator=generator)
    context, _ = network.encode(cond, network.initial_state(len(cond)))
    predicted = network.denoise(diffusion.noisy(x, noise, sigma), sigma, context)
    square = (predicted - diffusion.velocity(x, noise, sigma)).square()
    assert not weight[:, : config.warmup // FRAMES].any()
    error = (weight * square).sum() / weight.sum()
    mean = torch.autograd.grad(error, list(network.parameters()))
    norm = torch.stack([gradient.norm() for gradient in mean]).norm()
    scale = min(1.0, config.clip / (norm + 1e-6))
    lr, after = 0.5 * config.learning_rate * (1 + math.cos(math.pi * step / config.steps)), {}
    assert step == 0  # then AdamW moves by the gradient over its own size
    for (name, value), gradient in zip(network.named_parameters(), mean, strict=True):
        g = gradient * scale
        decay = config.weight_decay if value.ndim > 1 and "A_log" not in name else 0.0
        after[name] = value.detach() * (1 - lr * decay) - lr * g / (g.abs() + 1e-8)
    return float(error.detach()), after


def uneven():
    """Data of which sequences count for very different amounts, and some for nothing."""
    data = feature_set()
    data.weight[:] = torch.tensor([1.0, 0.1, 0.01, 0.5, 0.0]).half()[:, None, None]
    return data


@models
@pytest.mark.parametrize("mini", [4, 3, 2, 1, 9])
@pytest.mark.parametrize("clip", [1e-3, 1e9])
def test_a_step_follows_the_gradient_of_the_batch_however_it_is_divided(model, mini, clip):
    trainer = make_trainer(model, replace(TRAIN, mini_batch_size=mini, clip=clip), uneven())
    error, expected = reference_update(trainer, 0)
    (row,) = run(trainer, 1)
    assert row["loss"] == pytest.approx(error, rel=1e-5)
    for name, value in trainer.denoiser.named_parameters():
        # Where the gradient is rounding noise, its sign is too: there a step is at most the rate.
        close = torch.isclose(value, expected[name], rtol=1e-4, atol=1e-5)
        assert close.float().mean() > 0.97, name
        assert (value - expected[name]).abs().max() <= 2.01 * TRAIN.learning_rate


@models
def test_weight_decay_acts_on_matrices_only(model):
    torch.manual_seed(0)
    network = NETWORKS[model].new_denoiser(BANDS, COND)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter + 0.5)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    train = replace(TRAIN, steps=2, learning_rate=0.1, weight_decay=0.5, warmup=8)
    silent = feature_set()
    silent.weight[:] = 0  # no gradient: whatever moves has decayed
    trainer = Trainer(network, examples(silent, train), examples(silent, train), train, DIFFUSION)
    run(trainer, 1)
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    kept = {name for name, _ in network.named_parameters()} - moved
    assert all(before[name].ndim >= 2 for name in moved)
    assert {name for name in kept if before[name].ndim >= 2} == (
        {"layers.0.A_log"} if model == "s6" else set()
    )


class Blocks:
    """What the U-Net learns from: noise, where only the batch's shape matters."""

    def draw(self, count, generator):
        cond = torch.rand(count, 1, 3, 16, generator=generator)
        x = torch.randn(count, 2, 5, 16, generator=generator)
        return Batch(cond, (x[:, :1],), x[:, 1:], torch.ones_like(x[:, 1:]))

    def error_db(self, found, batch):
        return 0.0


def test_dropout_does_not_depend_on_the_size_of_mini_batches():
    rows = []
    for mini in (5, 2):
        torch.manual_seed(0)
        network = Unet(16).new_denoiser(16, 3)
        train = replace(TRAIN, batch_size=5, mini_batch_size=mini, validate_every=9, steps=9)
        rows.append(run(Trainer(network, Blocks(), Blocks(), train, DIFFUSION), 3))
    assert [row["loss"] for row in rows[1]] == pytest.approx([row["loss"] for row in rows[0]], rel=1e-4)


@pytest.mark.parametrize("seed", [2**32 + 3, 18_000_000_000_000, 2**63 - 1])
def test_any_seed_that_params_allow_can_train(seed):
    rows = [run(make_trainer(train=replace(TRAIN, seed=s)), 2) for s in (seed, seed, seed % 2**32, seed - 1)]
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]
    assert rows[0] != rows[3]


def test_streams_of_small_seeds_are_what_they_were_and_no_two_are_alike():
    assert [weights_seed(7), batch_seed(7, 12)] == [7, 7 * 1_000_003 + 12]
    seeds = [0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**62, 2**63 - 1]
    for stream in (batch_seed, dropout_seed):
        found = [stream(seed, step) for seed in seeds for step in range(200)]
        assert len(set(found)) == len(found)
        assert all(0 <= number < 2**32 for number in found)
    assert len({weights_seed(seed) for seed in seeds}) == len(seeds)
    assert dropout_seed(0, 0) != batch_seed(0, 0)
    assert batch_seed(1, 0) - batch_seed(0, 0) == STRIDE


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

    train = replace(TRAIN, steps=12, learning_rate=0.3)  # so fast that it overshoots
    often = make_trainer(model, replace(train, validate_every=1), listen=listen)
    rows = run(often)
    seldom = make_trainer(model, replace(train, validate_every=100))
    last = run(seldom)[-1]
    assert_equal(parameters(often), parameters(seldom))
    assert [row["streamed_lsd"] for row in rows] == list(range(1, 13))
    assert "one_step_db" in last  # the last step is always validated
    averaged = {k.removeprefix("averaged."): v for k, v in seldom.tensors().items() if k[:9] == "averaged."}
    assert_equal(heard[-1], averaged)
    errors = [row["one_step_db"] for row in rows]
    best = errors.index(min(errors))
    assert 0 < best < 11
    assert often.progress.best == errors[best]
    assert_equal(often.best, heard[best])
    history = [{"step": 1 + i, **row} for i, row in enumerate(rows)]
    for row in history:
        del row["loss"], row["learning_rate"]
    assert often.progress.history == history


def test_validation_errors_by_hand():
    trainer = make_trainer()  # a fresh network answers 0
    row = trainer._validate()
    assert row["one_step_db"] == pytest.approx(8.686, rel=1e-3)
    # v = alpha n - beta x; E n^2 = 1 and E x^2 is the mean square of 0.5, 0.7, .. 1.5.
    power = np.square(np.linspace(0.5, 1.5, BANDS)).mean()
    for sigma in (0.2, 0.8):
        expected = math.cos(math.pi * sigma / 2) ** 2 + math.sin(math.pi * sigma / 2) ** 2 * power
        assert row[f"validation_loss_{sigma}"] == pytest.approx(expected, rel=0.06)
    assert row["validation_loss"] == pytest.approx(
        (row["validation_loss_0.2"] + row["validation_loss_0.8"]) / 2
    )


@models
def test_what_has_no_weight_does_not_count(model):
    train = replace(TRAIN, sequence=48)  # the whole segment: every frame has a fixed place
    data = feature_set()
    run(plain := make_trainer(model, train, data))
    warm, silent = feature_set(), feature_set()
    warm.gains[:, : TRAIN.warmup] = 40.0
    run(changed := make_trainer(model, train, warm))
    assert_equal(parameters(changed), parameters(plain))
    silent.gains[:, 24:, 2] = 40.0
    run(changed := make_trainer(model, train, silent))
    assert not torch.equal(changed.denoiser.head.output.bias, plain.denoiser.head.output.bias)
    bands = [0, 1, 3, 4, 5]  # a band that never counts: its output learns nothing, but decays
    mute = feature_set()
    mute.weight[..., 2] = 0
    run(changed := make_trainer(model, train, mute))
    assert changed.denoiser.head.output.bias[2] == 0
    assert (changed.denoiser.head.output.bias[bands] != 0).all()


@pytest.mark.parametrize(("epochs", "steps"), [(1, 2), (3, 6), (10, 19), (100, 188)])
def test_epochs_are_steps_that_see_as_many_frames(epochs, steps):
    # 5 segments of 48 frames are 240; a step sees 4 x 32 = 128.
    assert examples().steps(epochs, TRAIN.batch_size) == steps
    short = replace(TRAIN, sequence=8, warmup=0)
    assert examples(feature_set(1, 8), short).steps(1, TRAIN.batch_size) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sequence": 49}, "train.sequence is longer than a segment, which has 48 frames"),
        (
            {"sequence": 3, "warmup": 0},
            "train.sequence, in whole blocks of 4 frames, must exceed train.warmup",
        ),
        ({"sequence": 11}, "train.sequence, in whole blocks of 4 frames, must exceed train.warmup"),
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
    with pytest.raises(UserError, match=r"training diverged in step [2-6]; lower train.learning_rate"):
        run(trainer)
