"""The streaming engine: the same samples however it is driven, silence where nothing sounds."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.block_playing import BLOCKS, MODELS, RATE, models, music, play, sample_events, silence

from diffsynth.audio.files import read_audio
from diffsynth.errors import UserError
from diffsynth.midi.events import (
    CONTROL,
    EVENT,
    NOTE_OFF,
    NOTE_ON,
    SOSTENUTO,
    SUSTAIN,
    to_samples,
)
from diffsynth.midi.files import read_midi
from diffsynth.piano.playing import play_whole
from diffsynth.representation.normaliser import Normaliser
from diffsynth.synthesis.rendering import render_timed, render_to_file
from diffsynth.synthesis.synthesizer import NO_EVENTS, Synthesizer, blocks_of, render

ROOT = Path(__file__).parents[2]
variants = pytest.mark.parametrize(("model", "block"), [(m, b) for m in MODELS for b in BLOCKS])


@variants
def test_offline_equals_block_by_block(make_voice, model, block):
    events, synthesizer = music(), Synthesizer(make_voice(model, block))
    whole = render(synthesizer, events, tail=0.5)
    assert len(whole) == int((events["time"][-1] + 0.5) * RATE)
    assert np.abs(whole).max() > 0.01
    other, audio = Synthesizer(make_voice(model, block)), []
    position = np.rint(events["time"] * RATE).astype(int)
    for begin in range(0, len(whole), block):
        inside = (position >= begin) & (position < begin + block)
        part = to_samples(events[inside], RATE)
        part["position"] -= begin
        audio.append(other.process(part))
        assert audio[-1].dtype == np.float32
        assert audio[-1].shape == (block,)
    np.testing.assert_array_equal(np.concatenate(audio)[: len(whole)], whole)


@models
def test_every_way_to_render_gives_the_same_samples(make_voice, tmp_path, model):
    events, synthesizer = music(), Synthesizer(make_voice(model, 1024))
    whole = render(synthesizer, events)
    rendered = render_to_file(synthesizer, events, tmp_path / "a.wav")
    again, rate = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(again, whole.clip(-1, 1), atol=1.01 / 32768)
    assert rendered.seconds == len(whole) / rate
    assert rendered.clipped == (abs(whole) > 1).sum()
    assert 0 < rendered.rtf < 100
    timed, times = render_timed(synthesizer, events, 1.1)
    np.testing.assert_array_equal(timed, whole[: int(1.1 * RATE)])
    assert len(times) == -(-int(1.1 * RATE) // 1024)
    assert (times > 0).all()


@variants
def test_future_events_never_change_past_audio(make_voice, model, block):
    past, border = music(2, 2.0), RATE // block * block
    synthesizer = Synthesizer(make_voice(model, block))
    earlier = past[np.rint(past["time"] * RATE) < border]
    assert len(earlier) > 3
    shifted = music(3, 2.0)
    later = shifted[np.rint(shifted["time"] * RATE) >= border]
    rendered = [
        render(synthesizer, events, tail=0.5) for events in (past, earlier, np.concatenate([earlier, later]))
    ]
    for audio in rendered[1:]:
        np.testing.assert_array_equal(audio[:border], rendered[0][:border])
    assert not np.array_equal(rendered[2][border : border + 9600], rendered[0][border : border + 9600])


@variants
def test_a_saved_state_resumes_identically_also_elsewhere(make_voice, model, block):
    parts = blocks_of(music(4, 2.0, 30), RATE, block, 2 * RATE)
    half = len(parts) // 2
    first, second = (Synthesizer(make_voice(model, block), steps=2, seed=5) for _ in range(2))
    play(first, parts[:half])
    state = first.state()
    rest = play(first, parts[half:])
    assert np.abs(rest).max() > 0.01
    for synthesizer in (first, second, first):
        synthesizer.restore(state)
        np.testing.assert_array_equal(play(synthesizer, parts[half:]), rest)


@models
def test_a_reset_forgets_everything(make_voice, model):
    synthesizer, parts = Synthesizer(make_voice(model)), blocks_of(music(), RATE, 512, RATE)
    first = play(synthesizer, parts)
    synthesizer.reset()
    np.testing.assert_array_equal(play(synthesizer, parts), first)


@models
@pytest.mark.parametrize("steps", [1, 3])
def test_the_seed_decides_the_noise(make_voice, model, steps):
    voice = make_voice(model)
    one, same, other = (render(Synthesizer(voice, steps, seed), music(), 0.2) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-4


def test_there_is_no_sampler_without_steps(make_voice):
    with pytest.raises(UserError, match="at least one step, not 0"):
        Synthesizer(make_voice(), steps=0).process(NO_EVENTS)


@variants
def test_nothing_sounds_without_an_onset(make_voice, model, block):
    synthesizer = Synthesizer(make_voice(model, block))
    assert not silence(synthesizer, 20).any()
    pedals = [(3, CONTROL, SUSTAIN, 127), (9, CONTROL, SOSTENUTO, 127), (20, NOTE_OFF, 60, 0)]
    assert not synthesizer.process(sample_events(*pedals, (30, NOTE_ON, 60, 0))).any()
    assert not silence(synthesizer, 5).any()
    assert not render(synthesizer, np.zeros(0, dtype=EVENT), 0.3).any()


@variants
def test_the_end_is_exactly_silent(make_voice, model, block):
    events = music()
    audio = render(Synthesizer(make_voice(model, block)), events, tail=1.0)
    # Every mode falls by exp(-41 t) at least: from 0.5 to 1e-8, where it is set to nothing, in 0.44 s.
    end = int((events["time"][-1] + 0.44) * RATE) + 2 * block
    assert np.abs(audio[: end - RATE]).max() > 0.01
    assert not audio[end:].any()


def test_a_note_begins_at_its_sample_and_not_before(make_voice):
    for block in BLOCKS:
        synthesizer = Synthesizer(make_voice("lstm", block))
        audio = synthesizer.process(sample_events((block - 200, NOTE_ON, 69, 90)))
        assert np.flatnonzero(audio)[0] == block - 200
        assert np.abs(audio[block - 200 : block - 150]).max() > 1e-3


@pytest.mark.parametrize(("block", "ms"), [(512, 64 / 3), (1024, 128 / 3), (2048, 256 / 3), (4096, 512 / 3)])
def test_latency_is_one_block(make_voice, block, ms):
    assert Synthesizer(make_voice("s6", block)).latency == {
        "buffer_samples": block,
        "model_samples": 0,
        "total_samples": block,
        "total_ms": pytest.approx(ms),
    }


@models
@pytest.mark.parametrize("gain", [-0.7, 0.4])
def test_a_network_that_answers_zero_plays_the_piano_with_the_mean_gain(make_voice, piano, model, gain):
    voice = make_voice(model, 512, level=0.0)
    mean = np.full(voice.config.features.values, gain, np.float32)
    voice = dataclasses.replace(voice, normaliser=Normaliser(mean, voice.normaliser.scale))
    events = music()
    audio = render(Synthesizer(voice), events, 0.3)
    plain = play_whole(piano, to_samples(events, RATE), RATE, 128, len(audio))
    # In the first hop the gain rises from that of silence, which is 1.
    np.testing.assert_allclose(audio[256:], np.exp(gain) * plain[256:], atol=2e-6)


@variants
def test_a_note_that_stands_still_stays_as_loud_as_it_is(make_voice, piano, model, block):
    still = dataclasses.replace(piano, decay=np.zeros(len(piano.key)))
    synthesizer = Synthesizer(make_voice(model, block, still, level=0.1))
    play(synthesizer, [sample_events((0, NOTE_ON, 45, 80))])
    silence(synthesizer, RATE // block)  # the memory of the network settles
    audio = silence(synthesizer, 4 * RATE // block)
    parts = audio[: len(audio) // 8 * 8].reshape(8, -1)
    level = 10 * np.log10(np.square(parts, dtype=np.float64).mean(axis=1))
    assert level.max() - level.min() < 0.5
    assert np.abs(level[:4].mean() - level[4:].mean()) < 0.15


@variants
def test_no_clicks_at_block_borders(make_voice, model, block):
    events = read_midi(ROOT / "data" / "demo" / "music_12.mid")
    parts = blocks_of(events[events["time"] > 0.5], RATE, block, 14 * RATE)[RATE // block :][:150]
    step = np.abs(np.diff(play(Synthesizer(make_voice(model, block)), parts)))
    borders = np.arange(block, len(step) - 300, block) - 1
    assert step[borders].max() < step.max()
    # Among the steps around it, one at a border is as often small as large.
    ranks = np.array([np.mean(step[i - 300 : i + 300] < step[i]) for i in borders])
    assert abs(ranks.mean() - 0.5) < 3.5 * 0.289 / np.sqrt(len(ranks))
    assert np.mean(ranks > 0.9) < 0.1 + 3.5 * 0.3 / np.sqrt(len(ranks))


def test_every_seed_and_block_has_noise_of_its_own(make_voice):
    voice = make_voice("lstm", 512)
    streams = {}
    for seed in (0, 5, 2**32 + 5, 2**33, 2**63 - 1):
        synthesizer = Synthesizer(voice, seed=seed)
        streams |= {(seed, block): synthesizer._noise().tobytes() for block in range(3)}
    assert len(set(streams.values())) == len(streams)
    expected = np.random.default_rng([5, 1]).standard_normal(synthesizer._noise().shape, dtype=np.float32)
    assert streams[5, 1] == expected.tobytes()  # what it always was
