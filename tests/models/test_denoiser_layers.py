"""The layers of the denoisers against their equations written out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_denoisers import BANDS, COND, make_model, random_state, seeds
from torch import nn
from torch.nn import functional

from diffsynth.models.lstm import Lstm
from diffsynth.models.parts.layers import DepthwiseConv, Head
from diffsynth.models.parts.scan import selective_scan_reference
from diffsynth.models.s6.network import SelectiveStateSpace


def test_lstm_trunk_follows_the_equations():
    trunk = make_model(Lstm(6, 1, 4, 1, 0, 0.0)).trunk
    features, (h, c) = torch.randn(2, 9, 4), random_state(trunk, 2)
    y, (last_h, last_c) = trunk(features, (h, c))
    w = trunk.lstm
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
    trunk = make_model(Lstm(6, 3, 4, 1, 0, 0.0)).trunk
    features = torch.randn(2, 9, 4)
    y, state = trunk(features[:, :4], trunk.initial_state(2))
    rest, (h, c) = trunk(features[:, 4:], state)
    expected, (h_n, c_n) = trunk.lstm(features)
    torch.testing.assert_close(torch.cat([y, rest], 1), expected)
    torch.testing.assert_close((h, c), (h_n.transpose(0, 1), c_n.transpose(0, 1)))


def test_lstm_cells_start_with_memories_from_2_to_300_frames():
    model = Lstm(16, 1, 4, 1, 0, 0.0).new_denoiser(BANDS, COND)
    i, f = model.trunk.lstm.bias_ih_l0.detach().double().sigmoid().view(4, 16)[:2]
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
