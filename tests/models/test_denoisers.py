import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from support.small_denoisers import BANDS, COND, CONFIGS, configs, make_model, random_state, seeds

from diffsynth import diffusion
from diffsynth.models.lstm import Lstm
from diffsynth.models.lstm.network import LstmLayers
from diffsynth.models.s6 import S6
from diffsynth.models.s6.network import S6Layers
from diffsynth.models.unet import Unet
from diffsynth.models.unet.network import UnetDenoiser

any_config = st.sampled_from(CONFIGS)


LEARNERS = [Lstm(32, 1, 32, 1, 0, 0.0), S6(32, 1, 32, 1, 0, 0.0, 8, 2, 4)]
LEARNERS += [Lstm(32, 1, 32, 8, 1, 0.0), S6(32, 1, 32, 8, 1, 0.0, 8, 2, 4)]


def make_inputs(b, t, f, seed=1):
    g = torch.Generator().manual_seed(seed)
    x_t, cond = (torch.randn(b, t, f, width, generator=g) for width in (BANDS, COND))
    return x_t, torch.rand(b, t, generator=g), cond


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
    assert type(CONFIGS[0].new_denoiser(BANDS, COND).trunk) is LstmLayers
    assert type(CONFIGS[1].new_denoiser(BANDS, COND).trunk) is S6Layers


@pytest.mark.filterwarnings("ignore:The tensor attributes")  # of nn.LSTM, which has its weights twice
@configs
def test_export_holds_for_other_inputs(config):
    """No control flow depends on data: a program traced at one input serves all of the same shape."""
    model = make_model(config)
    with torch.no_grad():
        traced = torch.export.export(model, (*make_inputs(1, 1, 4, seed=1), model.initial_state(1))).module()
        inputs, state = make_inputs(1, 1, 4, seed=2), random_state(model, 1)
        torch.testing.assert_close(traced(*inputs, state), model(*inputs, state))


@pytest.mark.parametrize("config", LEARNERS, ids=["lstm", "s6", "lstm in bands", "s6 in bands"])
def test_learns_a_tiny_set_that_needs_memory(config):
    """The condition of 4 frames ago decides the data; the model finds it from fresh noise."""
    torch.manual_seed(6)
    b, t, f, k, c = 4, 6, 4, 8, 10
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
