"""Devices: which one a name stands for, and that nothing of a step belongs to the CPU alone.

There may be no GPU here. Tensors on the device "meta" have shapes and no values: whatever asks for a value,
or mixes them with tensors of the CPU, fails. Fake tensors of a GPU run the forward pass as it would run.
"""

import warnings
from dataclasses import replace
from itertools import product

import pytest
import torch
from support.small_training import (
    BANDS,
    COND,
    DIFFUSION,
    NETWORKS,
    TRAIN,
    examples,
    make_trainer,
    models,
    run,
    spectra,
)
from torch._subclasses.fake_tensor import FakeTensorMode

from diffsynth.errors import UserError
from diffsynth.models.unet import Unet
from diffsynth.training import probing
from diffsynth.training.batches import Batch
from diffsynth.training.frame_batches import FrameExamples
from diffsynth.training.machine import Machine, find_device, find_precision
from diffsynth.training.objectives import OBJECTIVES, Draws
from diffsynth.training.probing import faster_precision
from diffsynth.training.trainer import Trainer

CPU, META, GPU = (torch.device(name) for name in ("cpu", "meta", "cuda:0"))


@pytest.fixture
def gpus(monkeypatch):
    """Pretends that there are so many GPUs."""

    def pretend(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: count > 0)

    return pretend


def test_a_name_stands_for_what_is_there(gpus):
    gpus(0)
    assert find_device("auto") == find_device("cpu") == CPU
    gpus(4)
    assert find_device("cpu") == CPU
    assert [find_device(name, local_rank=2).index for name in ("auto", "cuda", "cuda:3")] == [2, 2, 3]


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("cuda", 0, "cuda: PyTorch finds no GPU here; --device cpu or auto trains without one"),
        ("cuda:1", 0, "cuda:1: PyTorch finds no GPU here; --device cpu or auto trains without one"),
        ("cuda:2", 2, "cuda:2: there is no GPU of number 2, only 2, from 0 on"),
        *((name, 2, f"there is no device {name!r}: ") for name in ("gpu", "cuda:", "cuda:-1", "cpu:0", "")),
    ],
)
def test_a_device_that_is_not_there_is_one_line(gpus, name, count, message):
    gpus(count)
    with pytest.raises(UserError) as error:
        find_device(name)
    assert str(error.value).startswith(message)


def test_precision_is_low_on_a_gpu_alone_unless_asked_for(gpus):
    gpus(1)
    assert [find_precision("auto", device) for device in (CPU, GPU)] == ["float32", "bfloat16"]
    assert find_precision("bfloat16", CPU) == "bfloat16"
    gpus(0)
    assert find_precision("auto", GPU) == "float32"  # an old one
    with pytest.raises(UserError, match="there is no precision 'half': choose one of auto, fastest, float32"):
        find_precision("half", CPU)


def network(model):
    return (Unet(8) if model == "unet" else NETWORKS[model]).new_denoiser(*sizes(model))


def sizes(model):
    return (16, 3) if model == "unet" else (BANDS, COND)


def drawn(model):
    if model != "unet":
        return examples(spectra=spectra()).draw(0)
    x = torch.randn(TRAIN.batch_size, 2, 5, 16)
    return Batch.of_data(torch.rand(TRAIN.batch_size, 1, 3, 16), (x[:, :1],), x[:, 1:])


def data_of(model):
    """What says how data are heard."""
    return FrameExamples.__new__(FrameExamples) if model == "unet" else examples(spectra=spectra())


@pytest.mark.parametrize(
    ("model", "objective"), [*product(NETWORKS, OBJECTIVES), ("unet", "velocity"), ("unet", "energy")]
)
@pytest.mark.parametrize("mini", [4, 3])
def test_a_step_asks_for_no_value_and_for_no_other_device(model, mini, objective):
    train = replace(TRAIN, mini_batch_size=mini)
    data, diffusion = data_of(model), replace(DIFFUSION, objective=objective)
    with META:
        trainer = Trainer(network(model), data, None, train, diffusion, machine=Machine(META))
    error = trainer.gradients(0, drawn(model))
    assert error.device == META
    for name, parameter in trainer.denoiser.named_parameters():
        assert parameter.grad.device == META, name
        assert parameter.grad.shape == parameter.shape
    trainer._average(0)
    with pytest.raises(RuntimeError, match="meta"):
        float(error)


@pytest.mark.parametrize("model", [*NETWORKS, "unet"])
def test_the_forward_pass_stays_on_the_gpu(model):
    batch = drawn(model)
    # Without cuDNN, which asks the driver.
    with warnings.catch_warnings(), torch.backends.cudnn.flags(enabled=False), FakeTensorMode():
        warnings.simplefilter("ignore")  # weights that are made by hand as they are copied
        with GPU:
            net = network(model)
        net.to = lambda _: net  # fake tensors cannot be moved in place
        trainer = Trainer(net, None, None, TRAIN, DIFFUSION, machine=Machine(GPU))
        moved = replace(batch, state=None)._each(lambda tensor: torch.empty(tensor.shape, device=GPU))
        sigma = torch.rand(moved.x.shape[:2], device=GPU)
        draws = Draws(torch.randn_like(moved.x)[:, None], sigma)
        assert trainer._error(moved, draws).device == GPU
        x = torch.zeros(3)
        with pytest.raises(Exception, match="device"):
            x + sigma[0, 0].expand(3)


@models
def test_gradients_lie_in_memory_as_their_weights_do(model):
    trainer = make_trainer(model)
    trainer.gradients(0, trainer.batch(0))
    for name, parameter in trainer.denoiser.named_parameters():
        assert parameter.grad.stride() == parameter.stride(), name  # a fused optimiser on a GPU asks for it


@models
def test_low_precision_follows_the_gradient_and_keeps_weights_whole(model):
    found = {}
    for precision in ("float32", "bfloat16"):
        trainer = make_trainer(model, replace(TRAIN, clip=1e9), machine=Machine(CPU, precision))
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(1)
            for parameter in trainer.denoiser.parameters():  # fresh, the network answers zeros
                parameter.add_(0.1 * torch.randn_like(parameter))
        error = trainer.gradients(0, trainer._data.draw(0))
        gradients = [p.grad for p in trainer.denoiser.parameters()]
        assert {g.dtype for g in gradients} == {torch.float32}
        found[precision] = float(error), torch.cat([g.flatten() for g in gradients])
    (exact, wanted), (low, gradient) = found.values()
    assert low == pytest.approx(exact, rel=0.02)
    assert low != exact
    assert torch.cosine_similarity(wanted, gradient, 0) > 0.99


@pytest.mark.parametrize(
    ("slow", "found"), [("float32", "bfloat16"), ("bfloat16", "float32"), ("", "float32")]
)
def test_the_faster_precision_is_measured_and_changes_nothing_else(slow, found, monkeypatch):
    trainer = make_trainer("lstm")
    before = {name: value.clone() for name, value in trainer.denoiser.state_dict().items()}
    gradients = trainer.gradients

    clock = [0.0]

    def taking(step, batch):
        clock[0] += 2.0 if trainer.machine.precision == slow else 1.0
        return gradients(step, batch)

    monkeypatch.setattr(trainer, "gradients", taking)
    monkeypatch.setattr(probing, "perf_counter", lambda: clock[0])
    precision, ratio = faster_precision(trainer)
    assert precision == found
    assert ratio == (2.0 if slow else 1.0)  # where both are as fast, what is exact stays
    assert trainer.machine.precision == "float32"
    assert trainer.progress.step == 0
    assert all(torch.equal(before[name], value) for name, value in trainer.denoiser.state_dict().items())
    assert all(parameter.grad is None for parameter in trainer.denoiser.parameters())


@models
def test_low_precision_learns_and_goes_on_bit_by_bit(model):
    machine = Machine(CPU, "bfloat16")
    whole, first, resumed = (make_trainer(model, machine=machine, weights=w) for w in (0, 0, 99))
    rows = run(whole)
    early = run(first, 3)
    resumed.restore(first.tensors(), vars(first.progress))
    assert [*early, *run(resumed)] == rows
    assert rows[-1]["one_step_db"] < rows[1]["one_step_db"]
