"""The published network: its size, what it computes, and how it plays."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from diffsynth import diffusion
from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SAMPLE_EVENT, SUSTAIN, make_events
from diffsynth.models.unet import Unet
from diffsynth.models.unet.network import Attention, Block, LearnedFourier, UnetDenoiser
from diffsynth.synthesis.synthesizer import NO_EVENTS, Synthesizer, blocks_of, render

RATE, KEYS, BINS = 24000, 88, 32


def make_model(bins=BINS, width=8):
    torch.manual_seed(0)
    return Unet(width).new_denoiser(bins, KEYS).eval()


def make_inputs(b=2, t=1, bins=BINS, seed=1):
    """x_t, sigma, roll and the block before."""
    g = torch.Generator().manual_seed(seed)
    x_t, before = torch.randn(2, b, t, 5, bins, generator=g)
    return x_t, torch.rand(b, t, generator=g), torch.rand(b, t, KEYS, bins, generator=g), (before,)


@pytest.fixture(scope="module")
def published():
    """The network at its published width, without memory."""
    with torch.device("meta"):
        return UnetDenoiser(Unet(128), 256, KEYS)


def count(module):
    return sum(p.numel() for name, p in module.named_parameters() if not name.startswith("fourier."))


def test_the_published_width_has_the_published_number_of_parameters(published):
    assert count(published) == 44_363_653
    assert published.fourier.frequencies.numel() == 64  # their sines and cosines are 128 features


def test_parameters_by_hand(published):
    c = 128
    blocks = [
        (c, 2 * c),
        (2 * c, 4 * c),
        (4 * c, 8 * c),
        (8 * c, 8 * c),
        (16 * c, 4 * c),
        (8 * c, 2 * c),
        (4 * c, c),
    ]
    for block, (i, o) in zip([*published.down, published.middle, *published.up], blocks, strict=True):
        convolutions = 3 * i * o + o + 3 * o * o + o + (i * o + o if i != o else 0)
        conditions = 129 * o + 129 * 2 * o + (c * o + o)
        feed = 2 * o + 2 * o * o + 2 * o + 2 * o * o + o
        attention = 2 * o + 3 * o * o + 3 * o + o * o + o if (i, o) == (8 * c, 8 * c) else 0
        assert count(block) == 2 * i + 2 * o + convolutions + conditions + feed + attention
    assert count(published.input) == 10 * 3 * c + c
    assert count(published.cond) == 88 * 3 * c + c
    assert count(published.time) == 2 * (128 * 128 + 128)
    assert count(published.shrink) == 3 * 1024**2 + 1024
    assert count(published.grow) == 4 * 1024**2 + 1024
    assert count(published.output) == 2 * c + 3 * c * 5 + 5


@pytest.mark.parametrize("block", [512, 1024, 2048, 4096])
def test_every_block_size_has_the_same_parameters_and_its_own_shapes(block):
    with torch.device("meta"):
        model = UnetDenoiser(Unet(16), block // 2, KEYS)
        roll, sigma = torch.rand(3, 2, KEYS, block // 2), torch.rand(3, 2)
        x_t, before = torch.randn(2, 3, 2, 5, block // 2)
        v, (after,) = model(x_t, sigma, roll, (before,))
        (silent,) = model.initial_state(3)
    assert v.shape == x_t.shape
    assert after.shape == silent.shape == (3, 1, 5, block // 2)
    assert count(model) == 893_653


@pytest.mark.parametrize("width", [0, 4, 12, -8])
def test_a_width_that_cannot_be_grouped_is_refused(width):
    with pytest.raises(UserError, match=f"unet.width must be a multiple of 8, not {width}"):
        Unet(width).new_denoiser(BINS, KEYS)


def test_a_block_written_out():
    torch.manual_seed(1)
    block, w = Block(16, 24, 8, attention=True).eval(), functional
    x, time, cond = torch.randn(2, 16, 10), torch.randn(2, 128), torch.randn(2, 8, 10)

    def norm(y, layer):
        """Group norm by hand: 8 groups of neighbouring channels."""
        groups = y.reshape(2, 8, -1)
        groups = (groups - groups.mean(-1, keepdim=True)) / (
            groups.var(-1, correction=0, keepdim=True) + 1e-5
        ).sqrt()
        return groups.reshape(y.shape) * layer.weight[:, None] + layer.bias[:, None]

    def conv(y, layer):
        return w.conv1d(y, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)

    y = conv(w.silu(norm(x, block.first[0])), block.first[2])
    y = y + (w.silu(time) @ block.time[1].weight.T + block.time[1].bias)[:, :, None]
    y = conv(w.silu(norm(y, block.second[0])), block.second[2]) + conv(x, block.shortcut)
    film = time @ block.film.weight.T + block.film.bias
    y = y * (1 + film[:, :24, None]) + film[:, 24:, None] + conv(cond, block.cond)
    q, k, v = conv(norm(y, block.attention.norm), block.attention.qkv).split(24, 1)
    seen = torch.softmax(q.mT @ k / math.sqrt(24), -1) @ v.mT
    y = y + conv(seen.mT, block.attention.project)
    inner = conv(norm(y, block.feed[0]), block.feed[1])
    inner = 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2)))
    y = y + conv(inner, block.feed[3])
    torch.testing.assert_close(block(x, time, cond), y, rtol=1e-4, atol=1e-5)


def test_the_network_written_out():
    model, (x_t, sigma, roll, (before,)) = make_model(), make_inputs()
    angle = 2 * math.pi * sigma * model.fourier.frequencies
    time = model.time(torch.cat([angle.sin(), angle.cos()], 1))
    cond = functional.conv1d(roll[:, 0], model.cond.weight, model.cond.bias, padding=1)
    half = (cond[..., ::2] + cond[..., 1::2]) / 2  # linear interpolation at half the length
    x0 = model.input(torch.cat([before, x_t], 2)[:, 0])
    x1 = model.down[0](x0, time, cond)
    x2 = model.down[1](x1, time, cond)
    x3 = model.down[2](x2, time, cond)
    assert [x.shape[1] for x in (x0, x1, x2, x3)] == [8, 16, 32, 64]
    y = model.middle(model.shrink(x3), time, half)
    assert y.shape == (2, 64, BINS // 2)
    for block, skip in zip(model.up, (x3, x2, x1), strict=True):
        y = block(torch.cat([model.grow(y) if skip is x3 else y, skip], 1), time, cond)
    expected = model.output(y)[:, None]
    v, (after,) = model(x_t, sigma, roll, (before,))
    torch.testing.assert_close(v, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after, diffusion.clean(x_t, v, sigma))


def test_noise_level_features_by_hand():
    fourier = LearnedFourier()
    with torch.no_grad():
        fourier.frequencies.copy_(torch.arange(64.0))
    expected = [math.sin(math.pi * i / 2) for i in range(64)] + [math.cos(math.pi * i / 2) for i in range(64)]
    torch.testing.assert_close(fourier(torch.tensor([0.25]))[0], torch.tensor(expected), rtol=0, atol=1e-4)


def test_attention_drops_out_in_training_only():
    torch.manual_seed(2)
    attention, x = Attention(16), torch.randn(1, 16, 500)
    attention.eval()
    added = attention(x) - x
    torch.testing.assert_close(attention(x) - x, added)
    attention.train()
    dropped = attention(x) - x
    gone = (dropped == 0).float().mean()
    assert 0.07 < gone < 0.13
    torch.testing.assert_close(dropped[dropped != 0], added[dropped != 0] / 0.9, rtol=1e-3, atol=1e-5)


def test_everything_that_goes_in_matters_and_batches_do_not_meet():
    model, inputs = make_model(), make_inputs(b=3, t=2)
    x_t, sigma, roll, (before,) = inputs
    expected, _ = model(*inputs)
    for i, changed in enumerate((x_t, sigma, roll, before)):
        copy = changed.clone()
        copy[1, 1] = copy[1, 1].flip(-1) * 0.5
        arguments = [copy if j == i else value for j, value in enumerate((x_t, sigma, roll, before))]
        v, _ = model(*arguments[:3], (arguments[3],))
        different = ~torch.isclose(v, expected, rtol=1e-4, atol=1e-5).flatten(2).all(-1)
        assert different.tolist() == [[False, False], [False, True], [False, False]]


def test_one_batch_is_learned_by_heart():
    """Noise without any rule, so that nothing but memory helps."""
    model, (x, sigma, roll, (before,)) = make_model(width=16).train(), make_inputs()
    noise, one = torch.randn(x.shape, generator=torch.Generator().manual_seed(4)), torch.ones(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)  # of the dropout
        for _ in range(50):
            context, _ = model.encode(roll, (before,))
            denoise = partial(model.denoise, context=context)
            loss = diffusion.loss(denoise, x, noise, sigma, one)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert losses[0] > 0.9
    assert losses[-1] < 0.05 * losses[0]


# The engine. The U-Net plays no excitation, so that nothing but it decides what is heard.


def music(seconds=0.35, seed=1):
    rng = np.random.default_rng(seed)
    rows = [(0.05, CONTROL, SUSTAIN, 100), (0.8 * seconds, CONTROL, SUSTAIN, 0)]
    for onset in rng.uniform(0, 0.7 * seconds, 8):
        key = int(rng.integers(21, 109))
        rows += [(onset, NOTE_ON, key, int(rng.integers(20, 120))), (onset + 0.1, NOTE_OFF, key, 0)]
    return make_events(rows)


def play(synthesizer, parts):
    return np.concatenate([synthesizer.process(part) for part in parts])


@pytest.mark.parametrize("block", [512, 2048])
def test_offline_equals_block_by_block_and_a_reset_forgets(make_voice, block):
    events, voice = music(), make_voice("unet", block)
    synthesizer = Synthesizer(voice, steps=2, seed=3)
    whole = render(synthesizer, events, tail=0.1)
    assert len(whole) == int((events["time"][-1] + 0.1) * RATE)
    assert np.abs(whole).max() > 0.01
    synthesizer.reset()
    parts = blocks_of(events, RATE, block, len(whole))
    audio = [synthesizer.process(part) for part in parts]
    assert {(samples.shape, samples.dtype) for samples in audio} == {((block,), np.dtype(np.float32))}
    np.testing.assert_array_equal(np.concatenate(audio)[: len(whole)], whole)
    assert synthesizer.latency["total_samples"] == block


def test_a_saved_state_resumes_identically_also_elsewhere(make_voice):
    parts = blocks_of(music(), RATE, 512, RATE // 3)
    first, second = (Synthesizer(make_voice("unet"), seed=5) for _ in range(2))
    play(first, parts[:8])
    state = first.state()
    rest = play(first, parts[8:])
    for synthesizer in (first, second, first):
        synthesizer.restore(state)
        np.testing.assert_array_equal(play(synthesizer, parts[8:]), rest)
    second.reset()
    assert not np.array_equal(play(second, parts[8:]), rest)  # keys, the last block, the noise


def test_future_events_never_change_past_audio(make_voice):
    events, border = music(), 512 * 8
    earlier = events[np.rint(events["time"] * RATE) < border]
    assert 2 < len(earlier) < len(events)
    audio = [render(Synthesizer(make_voice("unet")), part, tail=0.2) for part in (events, earlier)]
    np.testing.assert_array_equal(audio[1][:border], audio[0][:border])
    length = min(map(len, audio))
    assert not np.array_equal(audio[1][border:length], audio[0][border:length])


def test_each_block_hears_the_one_before(make_voice):
    """With the same keys and the same noise: only what was played before differs."""
    synthesizer = Synthesizer(make_voice("unet"))
    play(synthesizer, [NO_EVENTS])
    state = synthesizer.state()
    expected = play(synthesizer, [NO_EVENTS])
    synthesizer.restore({**state, "memory": (2 * state["memory"][0],)})
    assert np.abs(play(synthesizer, [NO_EVENTS]) - expected).max() > 1e-3


def test_any_events_give_finite_audio(make_voice):
    rng = np.random.default_rng(0)
    events = np.zeros(5000, dtype=SAMPLE_EVENT)
    events["position"] = rng.integers(-600, 1200, 5000)
    events["kind"] = rng.integers(0, 4, 5000)
    events["number"], events["value"] = rng.integers(0, 256, (2, 5000))
    audio = play(Synthesizer(make_voice("unet")), [events, events, NO_EVENTS])
    assert np.isfinite(audio).all()


def test_the_level_does_not_drift(make_voice):
    audio = play(Synthesizer(make_voice("unet")), [NO_EVENTS] * 80)
    level = np.square(audio.reshape(8, -1)).mean(1)
    assert level.max() < 1.5 * level.min()


def test_it_takes_noise_whatever_is_asked_for():
    with pytest.raises(UserError, match="this network takes noise"):
        Unet(8).new_denoiser(16, 3).ignore_noise()
