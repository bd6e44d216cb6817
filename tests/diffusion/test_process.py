import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth import diffusion
from diffsynth.errors import UserError

sigmas = st.floats(0, 1)
seeds = st.integers(0, 2**31)


def normal(*shape, seed, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gaussian_velocity(mean, spread):
    """The best possible network for x ~ N(mean, spread^2): E[v | x_t], by linear regression."""

    def denoise(x_t, sigma):
        alpha, beta = torch.cos(math.pi * sigma / 2), torch.sin(math.pi * sigma / 2)
        alpha, beta = alpha[..., None, None], beta[..., None, None]
        covariance = alpha * beta * (1 - spread**2)
        variance = alpha**2 * spread**2 + beta**2
        return covariance / variance * (x_t - alpha * mean) - beta * mean

    return denoise


def test_alpha_beta_by_hand():
    alpha, beta = diffusion.alpha_beta(torch.tensor([0.0, 1 / 3, 0.5, 2 / 3, 1.0], dtype=torch.float64))
    expected_alpha = torch.tensor([1.0, math.sqrt(3) / 2, math.sqrt(0.5), 0.5, 0.0], dtype=torch.float64)
    torch.testing.assert_close(alpha, expected_alpha)
    torch.testing.assert_close(beta, expected_alpha.flip(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_of_the_half_circle_are_exact(dtype):
    x, noise = normal(2, 3, 4, 5, seed=1, dtype=dtype), normal(2, 3, 4, 5, seed=2, dtype=dtype)
    none, full = torch.zeros(2, 3, dtype=dtype), torch.ones(2, 3, dtype=dtype)
    assert torch.equal(diffusion.noisy(x, noise, none), x)
    assert torch.equal(diffusion.noisy(x, noise, full), noise)
    assert torch.equal(diffusion.velocity(x, noise, none), noise)
    assert torch.equal(diffusion.velocity(x, noise, full), -x)


@settings(deadline=None)
@given(sigma=sigmas, x=st.floats(-1e3, 1e3), noise=st.floats(-1e3, 1e3))
def test_noisy_and_velocity_follow_their_definition(sigma, x, noise):
    level, data, n = (torch.tensor([z], dtype=torch.float64) for z in (sigma, x, noise))
    alpha, beta = math.cos(math.pi * sigma / 2), math.sin(math.pi * sigma / 2)
    assert diffusion.noisy(data, n, level).item() == pytest.approx(alpha * x + beta * noise, abs=1e-9)
    assert diffusion.velocity(data, n, level).item() == pytest.approx(alpha * noise - beta * x, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, level=sigmas)
def test_true_velocity_gives_data_and_noise_back(seed, level):
    x, noise = normal(2, 3, 4, 5, seed=seed), normal(2, 3, 4, 5, seed=seed + 1)
    sigma = torch.rand(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    sigma[0, 0] = level
    x_t, v = diffusion.noisy(x, noise, sigma), diffusion.velocity(x, noise, sigma)
    torch.testing.assert_close(diffusion.clean(x_t, v, sigma), x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(diffusion.noise_of(x_t, v, sigma), noise, rtol=1e-12, atol=1e-12)


def test_each_block_has_its_own_noise_level():
    x, noise = torch.full((2, 2, 3, 4), 2.0), torch.full((2, 2, 3, 4), 5.0)
    x_t = diffusion.noisy(x, noise, torch.tensor([[0.0, 1.0], [1 / 3, 0.0]]))
    expected = torch.tensor([[2.0, 5.0], [math.sqrt(3) + 2.5, 2.0]])
    torch.testing.assert_close(x_t, expected[:, :, None, None].expand(2, 2, 3, 4))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [1.0, 0.0]), (2, [1.0, 0.5, 0.0]), (5, [1.0, 0.8, 0.6, 0.4, 0.2, 0.0])],
)
def test_schedule(steps, expected):
    torch.testing.assert_close(diffusion.schedule(steps), torch.tensor(expected))


def test_no_steps_are_refused():
    with pytest.raises(UserError, match="at least one step, not 0"):
        diffusion.sample(lambda x_t, sigma: x_t, torch.zeros(1, 1, 1, 1), 0)


def test_loss_is_the_weighted_mean_by_hand():
    x, noise = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, -1.0, 4.0])
    shape = (1, 1, 1, 3)
    weight = torch.tensor([1.0, 3.0, 0.0]).view(shape)
    # At sigma = 1, x_t is the noise and v is -x; the network answers 0.
    loss = diffusion.loss(
        lambda x_t, sigma: torch.zeros_like(x_t), x.view(shape), noise.view(shape), torch.ones(1, 1), weight
    )
    assert loss.item() == pytest.approx((1 * 1 + 3 * 4) / 4)


def test_loss_shows_the_network_noisy_data_and_its_level():
    x, noise = normal(2, 3, 4, 5, seed=1), normal(2, 3, 4, 5, seed=2)
    sigma = torch.rand(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    seen = []

    def perfect(x_t, level):
        seen.append((x_t, level))
        return diffusion.velocity(x, noise, level)

    assert diffusion.loss(perfect, x, noise, sigma, torch.ones(1)).item() == 0
    torch.testing.assert_close(seen, [(diffusion.noisy(x, noise, sigma), sigma)])


@settings(deadline=None, max_examples=30)
@given(seed=seeds)
def test_a_weight_per_band_counts_as_if_written_out(seed):
    x, noise = normal(2, 3, 4, 5, seed=seed), normal(2, 3, 4, 5, seed=seed + 1)
    sigma, bands = torch.full((2, 3), 0.3).double(), normal(5, seed=seed + 2).abs()
    short = diffusion.loss(lambda x_t, _: x_t, x, noise, sigma, bands)
    error = (diffusion.noisy(x, noise, sigma) - diffusion.velocity(x, noise, sigma)).square()
    expected = sum(bands[i] * error[..., i].mean() for i in range(5)) / bands.sum()
    torch.testing.assert_close(short, expected)


def test_loss_and_gradient_without_any_weight_are_zero():
    scale = torch.ones(1, requires_grad=True)
    x = torch.ones(1, 2, 3, 4)
    loss = diffusion.loss(lambda x_t, _: scale * x_t, x, x, torch.full((1, 2), 0.5), torch.zeros(1))
    loss.backward()
    assert loss.item() == 0
    assert scale.grad.item() == 0


def test_one_step_is_minus_v_exactly():
    v = normal(2, 3, 4, 5, seed=1, dtype=torch.float32)
    levels = []

    def denoise(x_t, sigma):
        levels.append(sigma)
        return v

    x = diffusion.sample(denoise, 100 * normal(2, 3, 4, 5, seed=2, dtype=torch.float32), 1)
    assert torch.equal(x, -v)
    assert torch.equal(levels[0], torch.ones(2, 3))
    assert len(levels) == 1


@settings(deadline=None, max_examples=30)
@given(steps=st.integers(1, 20), seed=seeds)
def test_an_oracle_of_one_point_reaches_it_in_any_number_of_steps(steps, seed):
    x, noise = normal(1, 2, 3, 4, seed=seed), normal(1, 2, 3, 4, seed=seed + 1)

    def denoise(x_t, sigma):
        level = sigma[..., None, None] * math.pi / 2
        found = (x_t - torch.cos(level) * x) / torch.sin(level)
        return torch.cos(level) * found - torch.sin(level) * x

    torch.testing.assert_close(diffusion.sample(denoise, noise, steps), x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_a_step_equals_ddim_written_out(steps):
    """The update of Song et al. 2021, equation 12 without noise: predict x and noise, mix them anew."""
    denoise = gaussian_velocity(0.7, 0.4)
    noise = normal(2, 3, 4, 5, seed=4)
    x_t = noise
    for i in range(steps, 0, -1):
        angle, after = (math.pi / 2 * j / steps for j in (i, i - 1))
        v = denoise(x_t, torch.full((2, 3), i / steps, dtype=torch.float64))
        x = math.cos(angle) * x_t - math.sin(angle) * v
        n = math.sin(angle) * x_t + math.cos(angle) * v
        x_t = math.cos(after) * x + math.sin(after) * n
    torch.testing.assert_close(diffusion.sample(denoise, noise, steps), x_t, rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=12)
@given(mean=st.floats(-3, 3), spread=st.floats(0.05, 3), seed=seeds)
def test_many_steps_turn_noise_into_the_gaussian_of_the_data(mean, spread, seed):
    """The probability flow of N(mean, spread^2) ends at mean + spread * noise."""
    noise = normal(2, 3, 4, 5, seed=seed)
    x = diffusion.sample(gaussian_velocity(mean, spread), noise, 400)
    assert (x - (mean + spread * noise)).abs().max() < 0.02 * (1 + spread) * noise.abs().max()


def test_one_step_gives_the_mean_of_the_gaussian():
    x = diffusion.sample(gaussian_velocity(-1.3, 0.6), normal(2, 3, 4, 5, seed=5), 1)
    torch.testing.assert_close(x, torch.full_like(x, -1.3))
