from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth.models.parts.scan import CHUNK, SPAN, selective_scan, selective_scan_reference

NAMES = ("u", "dt", "A", "B", "C", "state")
# Below, at and above one chunk, and no multiple of it.
lengths = st.sampled_from([1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
sizes = st.integers(1, 4)
seeds = st.integers(0, 2**31)


def make_inputs(b, length, d, n, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    # Steps from 0.01 to a few, so that exp(dt A) runs from nearly 1 to nearly 0.
    dt, A = torch.exp(normal(b, length, d) * 1.5 - 1), -torch.exp(normal(d, n))
    inputs = normal(b, length, d), dt, A, normal(b, length, n), normal(b, length, n), normal(b, d, n)
    return tuple(z.to(dtype) for z in inputs)


def numpy_scan(u, dt, A, B, C, state):
    """The recurrence of the paper, scalar by scalar."""
    u, dt, A, B, C, h = (z.numpy().copy() for z in (u, dt, A, B, C, state))
    y = np.zeros_like(u)
    for i, t, j, m in np.ndindex(*u.shape, A.shape[1]):
        h[i, j, m] = np.exp(dt[i, t, j] * A[j, m]) * h[i, j, m] + dt[i, t, j] * B[i, t, m] * u[i, t, j]
        y[i, t, j] += C[i, t, m] * h[i, j, m]
    return y, h


@settings(deadline=None, max_examples=25)
@given(b=sizes, length=lengths, d=sizes, n=sizes, seed=seeds)
def test_all_paths_follow_the_recurrence(b, length, d, n, seed):
    inputs = make_inputs(b, length, d, n, seed)
    expected = numpy_scan(*inputs)
    with torch.no_grad():
        plain = selective_scan(*inputs)
    found = selective_scan_reference(*inputs), selective_scan(*inputs), selective_scan(*inputs, True), plain
    for result in found:
        for value, wanted in zip(result, expected, strict=True):
            np.testing.assert_allclose(value.numpy(), wanted, rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(b=sizes, length=lengths, d=sizes, n=sizes, seed=seeds)
def test_gradients_equal_those_of_the_reference(b, length, d, n, seed):
    inputs = [z.requires_grad_() for z in make_inputs(b, length, d, n, seed)]
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(s, generator=generator, dtype=torch.float64) for s in ((b, length, d), (b, d, n))]
    scans = selective_scan, selective_scan_reference, partial(selective_scan, doubling=True)
    fast, slow, doubled = (torch.autograd.grad(scan(*inputs), inputs, weights) for scan in scans)
    for name, *values, wanted in zip(NAMES, fast, doubled, slow, strict=True):
        for value in values:
            torch.testing.assert_close(
                value, wanted, rtol=1e-9, atol=1e-11, msg=lambda m, name=name: f"{name}: {m}"
            )


def test_gradients_equal_finite_differences():
    inputs = [z.requires_grad_() for z in make_inputs(2, CHUNK + 3, 3, 2, seed=5)]
    assert torch.autograd.gradcheck(selective_scan, inputs)


@pytest.mark.parametrize("missing", NAMES)
def test_gradients_of_a_part_of_the_inputs(missing):
    inputs = make_inputs(2, 5, 3, 2, seed=6)
    for name, z in zip(NAMES, inputs, strict=True):
        z.requires_grad_(name != missing)
    wanted = [z for z in inputs if z.requires_grad]
    fast, slow = (
        torch.autograd.grad(scan(*inputs)[0].square().sum(), wanted)
        for scan in (selective_scan, selective_scan_reference)
    )
    torch.testing.assert_close(fast, slow)


@pytest.mark.parametrize("doubling", [False, True])
def test_single_precision_stays_close_at_full_size(doubling):
    exact = [z.requires_grad_() for z in make_inputs(2, SPAN + 44, 32, 16, seed=7)]
    single = [z.detach().float().requires_grad_() for z in exact]
    y, last = selective_scan(*single, doubling)
    expected, expected_last = selective_scan_reference(*exact)
    gradients = torch.autograd.grad(y.square().sum() + last.sum(), single)
    wanted = torch.autograd.grad(expected.square().sum() + expected_last.sum(), exact)
    for value, reference in zip((y, last, *gradients), (expected, expected_last, *wanted), strict=True):
        assert (value - reference).abs().max() < 2e-6 * reference.abs().max()


@settings(deadline=None, max_examples=20)
@given(length=st.integers(2, 3 * CHUNK), cut=st.floats(0, 1), seed=seeds, grad=st.booleans())
def test_carrying_the_state_equals_one_run(length, cut, seed, grad):
    u, dt, A, B, C, state = make_inputs(2, length, 3, 4, seed)
    at = 1 + int(cut * (length - 2))
    with torch.set_grad_enabled(grad):
        y, last = selective_scan(u, dt, A, B, C, state)
        first, state = selective_scan(u[:, :at], dt[:, :at], A, B[:, :at], C[:, :at], state)
        second, state = selective_scan(u[:, at:], dt[:, at:], A, B[:, at:], C[:, at:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), y, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(state, last, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("grad", [True, False])
def test_inputs_are_left_as_they_are(grad):
    inputs = make_inputs(2, CHUNK + 1, 3, 4, seed=8)
    copies = [z.clone() for z in inputs]
    with torch.set_grad_enabled(grad):
        selective_scan(*(z.requires_grad_(grad) for z in inputs))[0].sum()
    for z, copy in zip(inputs, copies, strict=True):
        assert torch.equal(z, copy)


def test_step_response_is_a_geometric_series():
    steps, dt, a = 40, 0.25, -2.0
    ones = torch.ones(1, steps, 1, dtype=torch.float64)
    y, _ = selective_scan(
        ones, dt * ones, torch.full((1, 1), a).double(), ones, ones, torch.zeros(1, 1, 1).double()
    )
    r = np.exp(dt * a)
    expected = dt * (1 - r ** np.arange(1, steps + 1)) / (1 - r)
    np.testing.assert_allclose(y[0, :, 0].numpy(), expected, rtol=1e-12)
