import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional

from diffsynth import diffusion
from diffsynth.models.lstm import Lstm
from diffsynth.models.lstm.network import LstmDenoiser
from diffsynth.models.parts.layers import DepthwiseConv, Head
from diffsynth.models.parts.scan import selective_scan_reference
from diffsynth.models.s6 import S6
from diffsynth.models.s6.network import S6Denoiser, SelectiveStateSpace
from diffsynth.models.unet import Unet
from diffsynth.models.unet.network import UnetDenoiser

BANDS, COND = 5, 7
CONFIGS = [Lstm(12, 2, 10), S6(12, 2, 4, 2, 3, 10)]
configs = pytest.mark.parametrize("config", CONFIGS, ids=["lstm", "s6"])
any_config = st.sampled_from(CONFIGS)
seeds = st.integers(0, 2**31)


def make_model(config, bands=BANDS, cond=COND):
    """A model with weights as if trained: fresh, its output would be zero."""
    torch.manual_seed(0)
    model = config.new_denoiser(bands, cond)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model


def make_inputs(b, t, f, seed=1):
    g = torch.Generator().manual_seed(seed)
    x_t, cond = (torch.randn(b, t, f, width, generator=g) for width in (BANDS, COND))
    return x_t, torch.rand(b, t, generator=g), cond


def random_state(model, batch):
    g = torch.Generator().manual_seed(2)
    return tuple(torch.randn(z.shape, generator=g) for z in model.initial_state(batch))


@settings(deadline=None, max_examples=30)
@given(config=any_config, b=st.integers(1, 3), t=st.integers(2, 6), f=st.sampled_from([1, 4, 8]), seed=seeds)
def test_block_by_block_equals_the_whole(config, b, t, f, seed):
    model = make_model(config)
    x_t, sigma, cond = make_inputs(b, t, f, seed)
    state = random_state(model, b)
    whole, last = model(x_t, sigma, cond, state)
    blocks = []
    with torch.inference_mode():
        for i in range(t):
            v, state = model(x_t[:, i : i + 1], sigma[:, i : i + 1], cond[:, i : i + 1], state)
            blocks.append(v)
    assert whole.abs().max() > 0.1
    torch.testing.assert_close(torch.cat(blocks, 1), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state, last, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(config=any_config, frame=st.integers(0, 11), seed=seeds)
def test_context_depends_on_past_frames_only(config, frame, seed):
    model = make_model(config)
    _, _, cond = make_inputs(2, 3, 4, seed)
    changed = cond.clone()
    changed.view(2, 12, COND)[:, frame] += 1
    before, after = (model.encode(c, model.initial_state(2))[0].flatten(1, 2) for c in (cond, changed))
    assert torch.equal(before[:, :frame], after[:, :frame])
    assert (before[:, frame:] != after[:, frame:]).any(-1).all()


@configs
def test_future_blocks_never_change_past_output(config):
    model = make_model(config)
    x_t, sigma, cond = make_inputs(2, 4, 4)
    expected, _ = model(x_t, sigma, cond, model.initial_state(2))
    for z in (x_t, sigma, cond):
        z[:, 2:] = torch.rand_like(z[:, 2:])
    v, _ = model(x_t, sigma, cond, model.initial_state(2))
    assert torch.equal(v[:, :2], expected[:, :2])
    assert not torch.isclose(v[:, 2:], expected[:, 2:]).all(-1).any()


@configs
def test_noise_of_one_block_reaches_that_whole_block_and_no_other(config):
    model = make_model(config)
    x_t, sigma, cond = make_inputs(1, 3, 2)
    context, _ = model.encode(cond, model.initial_state(1))
    expected = model.denoise(x_t, sigma, context)
    x_t[:, 1, 0] += 1
    changed = (model.denoise(x_t, sigma, context) != expected).all(-1)
    assert changed.tolist() == [[[False, False], [True, True], [False, False]]]


@configs
def test_the_condition_of_frames_inside_a_block_is_mixed(config):
    """The last frame's condition reaches the first frame of its block: the head sees the block as a whole."""
    model = make_model(config)
    x_t, sigma, cond = make_inputs(1, 1, 2)
    before, _ = model(x_t, sigma, cond, model.initial_state(1))
    cond[:, :, 1] += 1
    after, _ = model(x_t, sigma, cond, model.initial_state(1))
    assert (before[0, 0, 0] != after[0, 0, 0]).all()


@configs
def test_restored_state_replays_identically(config):
    model = make_model(config)
    x_t, sigma, cond = make_inputs(1, 6, 4)

    def play(blocks, state):
        result = []
        with torch.inference_mode():
            for i in blocks:
                v, state = model(x_t[:, i : i + 1], sigma[:, i : i + 1], cond[:, i : i + 1], state)
                result.append(v)
        return torch.cat(result, 1), state

    _, middle = play(range(3), model.initial_state(1))
    saved = save({str(i): z.contiguous() for i, z in enumerate(middle)})
    first, end = play(range(3, 6), middle)
    restored = load(saved)
    again, end_again = play(range(3, 6), tuple(restored[str(i)] for i in range(len(restored))))
    assert torch.equal(first, again)
    assert all(torch.equal(a, b) for a, b in zip(end, end_again, strict=True))


@configs
def test_sequences_of_a_batch_do_not_meet(config):
    model = make_model(config)
    x_t, sigma, cond = make_inputs(3, 2, 4)
    state = random_state(model, 3)
    together, after = model(x_t, sigma, cond, state)
    for i in range(3):
        one = slice(i, i + 1)
        v, last = model(x_t[one], sigma[one], cond[one], tuple(z[one] for z in state))
        torch.testing.assert_close(v, together[one], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(last, tuple(z[one] for z in after), rtol=1e-5, atol=1e-5)


@configs
def test_a_fresh_model_starts_from_silence_and_predicts_zero(config):
    model = config.new_denoiser(BANDS, COND)
    x_t, sigma, cond = make_inputs(2, 3, 4)
    state = model.initial_state(2)
    assert all(z.shape[0] == 2 and not z.any() for z in state)
    v, _ = model(x_t, sigma, cond, state)
    assert torch.equal(v, torch.zeros_like(x_t))


def test_the_type_of_the_section_chooses_the_model():
    assert type(Unet(8).new_denoiser(BANDS, COND)) is UnetDenoiser
    assert type(CONFIGS[0].new_denoiser(BANDS, COND)) is LstmDenoiser
    assert type(CONFIGS[1].new_denoiser(BANDS, COND)) is S6Denoiser


def test_lstm_trunk_follows_the_equations():
    model = make_model(Lstm(6, 1, 4))
    features, (h, c) = torch.randn(2, 9, 4), random_state(model, 2)
    y, (last_h, last_c) = model.trunk(features, (h, c))
    w = model.lstm
    h, c, expected = h[:, 0], c[:, 0], []
    for x in features.unbind(1):
        gates = x @ w.weight_ih_l0.T + w.bias_ih_l0 + h @ w.weight_hh_l0.T + w.bias_hh_l0
        i, f, g, o = gates.chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        expected.append(h)
    torch.testing.assert_close(y, torch.stack(expected, 1))
    torch.testing.assert_close((last_h[:, 0], last_c[:, 0]), (h, c))


def test_lstm_trunk_equals_torch_run_whole():
    model = make_model(Lstm(6, 3, 4))
    features = torch.randn(2, 9, 4)
    y, state = model.trunk(features[:, :4], model.initial_state(2))
    rest, (h, c) = model.trunk(features[:, 4:], state)
    expected, (h_n, c_n) = model.lstm(features)
    torch.testing.assert_close(torch.cat([y, rest], 1), expected)
    torch.testing.assert_close((h, c), (h_n.transpose(0, 1), c_n.transpose(0, 1)))


def test_lstm_cells_start_with_memories_from_2_to_300_frames():
    model = Lstm(16, 1, 4).new_denoiser(BANDS, COND)
    i, f = model.lstm.bias_ih_l0.detach().double().sigmoid().view(4, 16)[:2]
    lengths = 1 / (1 - f)  # a cell loses this share of itself per frame
    torch.testing.assert_close(lengths, 2 * 150 ** (torch.arange(16).double() / 15), rtol=1e-4, atol=0)
    torch.testing.assert_close(i, 1 - f)


def test_s6_layer_equals_the_paper_written_out():
    torch.manual_seed(3)
    units, inner, n, conv, b, steps = 20, 24, 4, 3, 2, 11
    layer = SelectiveStateSpace(units, inner, n, conv)
    x, tail, state = torch.randn(b, steps, units), torch.randn(b, conv - 1, inner), torch.randn(b, inner, n)
    y, new_tail, last = layer(x, tail, state)

    u, z = (x @ layer.input.weight.T).split(inner, -1)
    u = torch.cat([tail, u], 1)
    weight, bias = layer.conv.weight, layer.conv.bias
    s = functional.silu(functional.conv1d(u.mT, weight.T[:, None], bias, groups=inner).mT)
    rank, B, C = (s @ layer.select.weight.T).split([2, n, n], -1)  # ceil(20 / 16) = 2
    dt = torch.log1p(torch.exp(rank @ layer.step.weight.T + layer.step.bias))
    scanned, expected_last = selective_scan_reference(s, dt, -layer.A_log.exp(), B, C, state)
    expected = ((scanned + layer.D * s) * functional.silu(z)) @ layer.output.weight.T
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(last, expected_last, rtol=1e-5, atol=1e-6)
    assert torch.equal(new_tail, u[:, -2:])


def test_s6_starts_with_the_steps_and_the_diagonal_of_the_paper():
    torch.manual_seed(4)
    layer = SelectiveStateSpace(16, 2000, 5, 4)
    dt = functional.softplus(layer.step.bias.detach().double())
    assert dt.min() > 0.999e-3
    assert dt.max() < 0.1001
    # Log-uniform: the mean of the logarithm is that of its ends, within four standard errors.
    error = math.log(100) / math.sqrt(12 * 2000)
    assert dt.log().mean().item() == pytest.approx(math.log(1e-2), abs=4 * error)
    expected = torch.tensor([-1.0, -2.0, -3.0, -4.0, -5.0]).expand(2000, 5)
    torch.testing.assert_close(-layer.A_log.exp(), expected)


def test_s6_layer_parameters_counted_by_hand():
    layer = SelectiveStateSpace(units=96, inner=192, state=16, conv=4)
    expected = {
        "input": 96 * 384,
        "conv": 4 * 192 + 192,
        "select": 192 * (6 + 16 + 16),
        "step": 6 * 192 + 192,
        "A_log": 192 * 16,
        "D": 192,
        "output": 192 * 96,
    }
    counted = dict.fromkeys(expected, 0)
    for name, p in layer.named_parameters():
        counted[name.split(".")[0]] += p.numel()
    assert counted == expected


@settings(deadline=None, max_examples=20)
@given(kernel=st.integers(1, 5), length=st.integers(1, 8), seed=seeds)
def test_depthwise_conv_and_its_gradients_equal_conv1d(kernel, length, seed):
    torch.manual_seed(seed)
    conv = DepthwiseConv(3, kernel).double()
    x = torch.randn(2, length + kernel - 1, 3, dtype=torch.float64, requires_grad=True)
    y = conv(x)
    expected = functional.conv1d(x.mT, conv.weight.T[:, None], conv.bias, groups=3).mT
    torch.testing.assert_close(y, expected)
    with torch.no_grad():
        torch.testing.assert_close(conv(x), expected)
    inputs, dy = (x, conv.weight, conv.bias), torch.randn_like(y)
    torch.testing.assert_close(torch.autograd.grad(y, inputs, dy), torch.autograd.grad(expected, inputs, dy))


def test_head_of_several_blocks_uses_each_and_each_noise_level():
    torch.manual_seed(5)
    head = Head(BANDS, 6, 8, blocks=3)
    for p in head.parameters():
        nn.init.normal_(p, std=0.3)
    x_t, context = torch.randn(2, 3, 4, BANDS), torch.randn(2, 3, 4, 6)
    sigma = torch.rand(2, 3, requires_grad=True)
    head(x_t, sigma, context).square().sum().backward()
    assert all(p.grad.abs().max() > 1e-6 for p in head.parameters())
    assert (sigma.grad.abs() > 1e-6).all()


@pytest.mark.filterwarnings("ignore:The tensor attributes")  # of nn.LSTM, which has its weights twice
@configs
def test_export_holds_for_other_inputs(config):
    """No control flow depends on data: a program traced at one input serves all of the same shape."""
    model = make_model(config)
    with torch.no_grad():
        traced = torch.export.export(model, (*make_inputs(1, 1, 4, seed=1), model.initial_state(1))).module()
        inputs, state = make_inputs(1, 1, 4, seed=2), random_state(model, 1)
        torch.testing.assert_close(traced(*inputs, state), model(*inputs, state))


@pytest.mark.parametrize("config", [Lstm(32, 1, 32), S6(32, 1, 8, 2, 4, 32)], ids=["lstm", "s6"])
def test_learns_a_tiny_set_that_needs_memory(config):
    """The condition of 4 frames ago decides the data; the model finds it from fresh noise."""
    torch.manual_seed(6)
    b, t, f, k, c = 4, 6, 4, 8, 6
    cond = torch.randn(b, t, f, c)
    x = torch.tanh(cond.roll(1, dims=1) @ torch.randn(c, k))
    model = config.new_denoiser(k, c)
    weight = torch.ones(t, 1, 1)
    weight[0] = 0  # nothing precedes the first block
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)

    def error(steps):
        with torch.no_grad():
            context, _ = model.encode(cond, model.initial_state(b))
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
            found = diffusion.sample(lambda x_t, s: model.denoise(x_t, s, context), noise, steps)
            return (found - x)[:, 1:].square().mean().item()

    before = x[:, 1:].square().mean().item()
    assert error(1) == pytest.approx(before)  # fresh, it answers zero
    for _ in range(200):
        context, _ = model.encode(cond, model.initial_state(b))
        loss = diffusion.loss(
            lambda x_t, s, context=context: model.denoise(x_t, s, context),
            x, torch.randn_like(x), torch.rand(b, t), weight,
        )  # fmt: skip
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert error(1) < before / 10
    assert error(4) < before / 10
