"""Devices that run at another rate than the voice."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.signal import firwin, resample_poly

from diffsynth.live.clock import Clock
from diffsynth.live.engine import Engine
from diffsynth.live.resampling import KAISER, Resampler
from diffsynth.live.ring import Ring, Tap
from diffsynth.live.sources import FileSource
from diffsynth.midi.events import NOTE_ON, make_events
from diffsynth.synthesis.synthesizer import Synthesizer, render

BLOCK = 512
RATES = [(24000, 48000), (24000, 96000), (48000, 44100), (44100, 48000), (24000, 44100), (48000, 16000)]


def played(rate, target, sound, block=BLOCK):
    """What a device hears of blocks of a sound; says the delay in seconds."""
    resample = Resampler(rate, target, block, 1 if sound.ndim == 1 else sound.shape[1])
    parts = [resample(part) for part in np.split(sound.astype(np.float32), len(sound) // block)]
    assert {resample.most - len(part) for part in parts} <= {0, 1}
    heard = np.concatenate(parts)
    assert heard.dtype == np.float32
    assert len(heard) == -(-len(sound) * target // rate)
    return heard, resample.delay / rate


@pytest.mark.parametrize(("rate", "target"), RATES)
def test_another_rate_keeps_a_tone_and_adds_no_other(rate, target):
    frequency = min(rate, target) / 8
    heard, delay = played(rate, target, np.sin(2 * np.pi * frequency * np.arange(80 * BLOCK) / rate))
    expected = np.sin(2 * np.pi * frequency * (np.arange(len(heard)) / target - delay))
    settled = round(2 * delay * target) + 1
    np.testing.assert_allclose(heard[settled:], expected[settled:], atol=1e-3)
    assert delay < 2e-3


@pytest.mark.parametrize(("rate", "target"), [(48000, 44100), (48000, 16000)])
def test_what_the_device_cannot_play_is_not_folded(rate, target):
    frequency = min(0.72 * target, 0.49 * rate)
    heard, _ = played(rate, target, np.sin(2 * np.pi * frequency * np.arange(80 * BLOCK) / rate))
    assert np.abs(heard[200:]).max() < (0.3 if target == 44100 else 1e-3)  # 23.5 kHz fold to 20.6, unheard


@pytest.mark.parametrize(("rate", "target"), RATES)
def test_noise_as_scipy_resamples_it(rate, target):
    sound = np.random.default_rng(1).standard_normal(40 * BLOCK)
    heard, delay = played(rate, target, sound)
    ratio = Fraction(target, rate)
    # Its filter: of ten times the longer factor on each side.
    ours = round(delay * rate) * ratio.numerator
    cutoff = 1 / max(ratio.numerator, ratio.denominator)
    taps = firwin(2 * ours + 1, cutoff, window=("kaiser", KAISER))
    expected = resample_poly(sound, ratio.numerator, ratio.denominator, window=taps)
    # SciPy's is not late; ours is by a whole number of samples of the voice, not always of the device.
    if (ours % ratio.denominator) == 0:
        late = ours // ratio.denominator
        count = min(len(heard) - late, len(expected))
        np.testing.assert_allclose(heard[late : late + count], expected[:count], atol=1e-4)
    else:
        assert np.std(heard) == pytest.approx(np.std(expected), rel=0.01)


@pytest.mark.parametrize("target", [24000, 48000, 44100])
def test_each_channel_as_if_alone(target):
    sound = np.random.default_rng(2).standard_normal((4 * BLOCK, 2))
    both = played(24000, target, sound)[0]
    for channel, heard in enumerate(both.T):
        np.testing.assert_allclose(heard, played(24000, target, sound[:, channel])[0], atol=1e-6)


def test_the_same_rate_passes_blocks_unchanged():
    resample, block = Resampler(24000, 24000, BLOCK), np.arange(BLOCK, dtype=np.float32)
    assert resample(block) is block
    assert (resample.delay, resample.most) == (0, BLOCK)


@pytest.mark.parametrize("target", [44100, 48000])
def test_a_performance_at_the_rate_of_a_device(make_voice, target):
    rate, rng = 24000, np.random.default_rng(3)
    events = make_events([(rng.random(), NOTE_ON, int(rng.integers(30, 90)), 80) for _ in range(20)])
    most = Resampler(rate, target, BLOCK).most
    ring = Ring(2, most)
    tap, clock = Tap(ring), Clock()
    clock.set(0.0, 1000.0)
    while ring.write(ring.empty(most)):
        pass
    engine = Engine(Synthesizer(make_voice()), FileSource(events, rate, -BLOCK), tap, clock, target)
    heard = []
    while not engine.over:
        heard.append(ring.empty(300))
        tap.fill(heard[-1])
        while ring.waiting < ring.slots:
            engine.advance()
    assert tap.missed == 0
    heard = np.concatenate(heard)[2 * most :]
    expected = render(Synthesizer(make_voice()), events)
    expected = np.pad(expected, (0, -len(expected) % BLOCK))
    expected, _ = played(rate, target, expected)
    count = min(len(heard), len(expected))
    assert count > target
    np.testing.assert_array_equal(heard[:count], expected[:count])
