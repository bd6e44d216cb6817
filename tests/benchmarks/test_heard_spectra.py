"""What is heard of gains is what the engine's bank plays, and networks learn through it."""

import sys
from dataclasses import replace
from pathlib import Path

import heard_spectra
import numpy as np
import pytest
import torch
from gain_networks import BandNetwork, RecurrentGains
from heard_pieces import AGES, EnginePiano, Piece, shares_of_age
from heard_sound import Distance, HeardSound
from heard_training import Track, gains_of, measure, train
from scipy.ndimage import gaussian_filter
from sub_bands import SubBandNetwork
from support.noisy_piano import with_noise
from support.small_fit import true_piano
from support.small_training import TRAIN

from diffsynth.audio.format import AudioFormat
from diffsynth.evaluation.log_mel import log_mel_distance
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events
from diffsynth.models.lstm import Lstm
from diffsynth.piano.piano import save_piano
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.weights import load_voice
from pipeline.params import load_params

RATE, HOP, HOPS = 16000, 512, 64
AUDIO = AudioFormat(RATE, 128)
FEATURES = Features(bands=128, noise_bands=64, highest=7600.0, knee=3000.0, window=2048, floor=-100.0, hop=4)
PIANO = replace(with_noise(true_piano(), bands=64, highest=7600.0), jitter=0.0)
DEMO = Path(__file__).parents[2] / "data" / "demo"


@pytest.fixture(scope="module")
def events():
    """Two seconds: notes, a chord, one of them struck again under the pedal."""
    rows = [(0.9, CONTROL, SUSTAIN, 127), (1.8, CONTROL, SUSTAIN, 0)]
    for start, end, pitch, velocity in [
        (0.1, 0.5, 48, 70), (0.4, 0.8, 55, 50), (0.8, 1.2, 48, 90), (0.8, 1.6, 60, 60), (1.3, 1.5, 48, 40),
    ]:  # fmt: skip
        rows += [(start, NOTE_ON, pitch, velocity), (end, NOTE_OFF, pitch, 0)]
    return make_events(rows)


@pytest.fixture(scope="module", params=AGES)
def ages(request):
    return request.param


@pytest.fixture(scope="module")
def engine(ages):
    return EnginePiano(PIANO, AUDIO, FEATURES, ages)


@pytest.fixture(scope="module")
def rendered(engine, events):
    return engine.render(events, HOPS)


@pytest.fixture(scope="module")
def synth(ages):
    return HeardSound(FEATURES, PIANO.noise.centre, AUDIO, ages)


def heard(synth, gains, rendered):
    """[time] of gains [l + 1, k]."""
    half = synth.window // 2
    sounds = [np.pad(rendered.modes, ((0, 0), (half, half))), np.pad(rendered.noise, half)]
    return synth(torch.from_numpy(gains)[None], *(torch.from_numpy(sound)[None] for sound in sounds))[
        0
    ].numpy()


@pytest.mark.parametrize("gain", [0.0, -0.7, 1.1])
def test_the_same_gain_everywhere_multiplies_the_sum(synth, rendered, gain):
    gains = np.full((HOPS + 1, 128 * synth.ages + 64), gain, np.float32)
    whole = rendered.modes.sum(axis=0) + rendered.noise
    np.testing.assert_allclose(heard(synth, gains, rendered), np.exp(gain) * whole, atol=1e-4 * whole.max())


def test_smooth_gains_sound_as_the_bank_plays_them(synth, engine, rendered, events):
    random = np.random.default_rng(0)
    groups = [random.standard_normal((HOPS + 1, bands)) for bands in (*[128] * synth.ages, 64)]
    gains = np.concatenate([gaussian_filter(group, (2, 4)) for group in groups], axis=1)
    gains = (0.4 * gains / gains.std()).astype(np.float32)
    played = engine.play(events, gains)
    distance, floor = Distance(RATE), torch.tensor([1e-7])
    sounds = heard(synth, gains, rendered), rendered.modes.sum(axis=0) + rendered.noise
    near, far = (
        float(distance.log_mel(torch.from_numpy(sound)[None], torch.from_numpy(played)[None], floor))
        for sound in sounds
    )
    assert near < 0.15
    assert far > 10 * near


def test_ages_share_all_of_a_sound(events):
    whole, parts = (EnginePiano(PIANO, AUDIO, FEATURES, ages).render(events, HOPS) for ages in (1, 3))
    assert parts.modes.shape == (3, HOPS * HOP)
    np.testing.assert_allclose(parts.modes.sum(axis=0), whole.modes[0], atol=1e-5)
    np.testing.assert_array_equal(parts.condition, whole.condition)
    fresh, _, old = np.square(parts.modes).sum(axis=1)
    assert fresh > 10 * old > 0  # a note is struck at least every half second


def test_shares_of_ages_sum_to_one_and_meet_half_way():
    age = np.array([0.0, 0.1, np.sqrt(0.05), 0.5, 1.0, 2.0, 1e9])
    shares = shares_of_age(age, 3)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)
    expected = [[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1], [0, 0, 1]]
    np.testing.assert_allclose(shares.T, expected, atol=1e-6)
    np.testing.assert_array_equal(shares_of_age(age, 1), np.ones((1, 7)))


def magnitudes_by_numpy(sound):
    frames = np.lib.stride_tricks.sliding_window_view(sound, 2048)[::512]
    return np.abs(np.fft.rfft(frames * np.hanning(2049)[:-1])).T


def test_log_mel_is_that_of_the_evaluation():
    random = np.random.default_rng(1)
    sounds = [(0.1 * random.standard_normal(RATE)).astype(np.float32).cumsum() * 0.1 for _ in range(2)]
    target, other = (magnitudes_by_numpy(sound) for sound in sounds)
    distance = Distance(RATE)
    first, second = (torch.from_numpy(sound.astype(np.float32))[None] for sound in sounds)
    found = distance.log_mel(second, first, distance.floor(first[0])[None])
    assert float(found) == pytest.approx(log_mel_distance(target, other, RATE), abs=1e-3)
    level = distance.figures(first[0] * 3, first[0])
    assert (level.log_mel, level.convergence, level.floor) == pytest.approx((0, 0, 0), abs=1e-3)


def new_network(name, ages=1):
    torch.manual_seed(0)
    if name == "bands":
        return BandNetwork(FEATURES, ages, channels=4, width=16, dilations=(1, 2))
    if name.startswith("bands_"):
        return SubBandNetwork(name.removeprefix("bands_"), FEATURES, ages, units=4, width=16)
    denoiser = Lstm(units=16, layers=1, cond_units=16).new_denoiser(
        128 * ages + 64, GainField.width(FEATURES)
    )
    return RecurrentGains(denoiser)


@pytest.mark.parametrize("name", ["lstm", "bands", "bands_lstm", "bands_s6"])
def test_what_is_to_come_changes_no_gain(name):
    network, random = new_network(name, 3).eval(), torch.Generator().manual_seed(0)
    for parameter in network.parameters():  # also those that are 0 to begin with
        torch.nn.init.normal_(parameter, std=0.2, generator=random)
    first = torch.randn(1, 12, GainField.width(FEATURES), generator=random)
    second = torch.cat([first[:, :7], torch.randn(1, 5, first.shape[2], generator=random)], 1)
    a, b = network(first), network(second)
    assert a.shape == (1, 12, 3 * 128 + 64)
    torch.testing.assert_close(a[:, :7], b[:, :7])
    assert (a[:, 7:] - b[:, 7:]).abs().mean(-1).min() > 1e-3


@pytest.mark.parametrize("name", ["lstm", "bands", "bands_lstm", "bands_s6"])
def test_a_few_steps_come_nearer_to_the_recording(name, ages, synth, engine, rendered, events):
    # What is recorded is louder where bands are high, and its noise softer.
    slope = np.linspace(-0.8, 0.8, 128)
    wanted = np.tile(np.concatenate([*[slope] * ages, np.full(64, -0.5)]), (HOPS + 1, 1)).astype(np.float32)
    distance = Distance(RATE)
    track = Track.of(Piece("toy", events, rendered, engine.play(events, wanted)), synth, distance)
    config = replace(
        TRAIN, steps=16, validate_every=16, learning_rate=2e-2, batch_size=2, sequence=24, warmup=8
    )
    part = slice(0, HOPS * HOP)
    [before] = measure(None, [track], synth, distance, part)
    [(step, learned, network)] = train(new_network(name, ages), [track], synth, distance, config)
    [after] = measure(network, [track], synth, distance, part)
    assert step == 16
    assert learned < before.log_mel
    assert after.log_mel < 0.8 * before.log_mel


def test_a_voice_plays_as_the_bank_does(tmp_path, events):
    params = load_params(
        heard_spectra.PARAMS, heard_spectra.changes(RATE, 100) | {"lstm.units": 16, "lstm.cond_units": 16}
    )
    assert params.features == FEATURES
    network = heard_spectra.new_network("lstm", 1, 0.0, params).eval()
    torch.nn.init.normal_(network.denoiser.head.output.weight, std=0.3)
    heard_spectra.write_voice(tmp_path / "voice.safetensors", "lstm", network, PIANO, params, {})
    engine = EnginePiano(PIANO, AUDIO, FEATURES)
    condition = torch.from_numpy(engine.render(events, HOPS).condition).float()
    with torch.no_grad():
        gains = gains_of(network, condition, 192)
    assert gains.abs().max() > 0.3
    played = engine.play(events, gains.numpy())
    voiced = render(Synthesizer(load_voice(tmp_path / "voice.safetensors")), events)[: len(played)]
    np.testing.assert_allclose(voiced, played[: len(voiced)], atol=0.01 * np.abs(played).max())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--test", "another", "--validate", "music_3"], f"not in {DEMO}: another"),
        (["--test", "music_3", "--validate", "music_3"], "both to test and to validate with: music_3"),
        (
            ["--test", "music_3", "--validate", "music_7", "--drop", "1"],
            "--drop must be at least 0 and below 1",
        ),
    ],
)
def test_wrong_input_is_one_line(tmp_path, monkeypatch, capsys, options, says):
    save_piano(tmp_path / "piano.safetensors", PIANO)
    script = "heard_spectra.py"
    monkeypatch.setattr(
        sys, "argv", [script, str(DEMO), str(tmp_path / "piano.safetensors"), "out", *options]
    )
    with pytest.raises(SystemExit) as end:
        heard_spectra.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"{script}: error: {says}")
