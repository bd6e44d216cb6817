"""The published system around its network: frames, piano roll and voice."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SAMPLE_EVENT, SUSTAIN
from diffsynth.models.unet import Unet
from diffsynth.representation.piano_roll import RecordedRoll, StreamedRoll
from diffsynth.representation.stft_frames import Frames, FrameScale
from diffsynth.synthesis.weights import load_voice, save_voice

RATE, N = 24000, 64  # a block is short here; nothing depends on its size
HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N) / N)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def reflected_frames(block):
    """The five windowed frames of a block, [5, N], centred a quarter block apart."""
    padded = np.pad(block.astype(np.float64), N // 2, mode="reflect")
    return np.stack([padded[i * N // 4 :][:N] * HANN for i in range(5)])


def test_frames_are_the_real_part_of_the_transform_of_windowed_pieces():
    audio = noise(3, N)
    frames = Frames(N).analyse(torch.from_numpy(audio))
    expected = np.stack([np.fft.rfft(reflected_frames(block)).real[:, :-1] for block in audio])
    assert frames.shape == (3, *Frames(N).shape) == (3, 5, N // 2)
    np.testing.assert_allclose(frames, expected, atol=1e-5)


def test_rebuilding_mirrors_every_frame_in_time():
    """The defect of the published system: half of what is heard runs backwards within its frame."""
    audio = noise(N)
    pieces = reflected_frames(audio)
    mirrored = (pieces + np.roll(pieces[:, ::-1], 1, axis=1)) / 2  # about the centre of the frame
    # And the bin at the Nyquist frequency is gone.
    sign = (-1.0) ** np.arange(N)
    mirrored -= (mirrored @ sign / N)[:, None] * sign
    total, weight = np.zeros((2, 2 * N))
    for i, piece in enumerate(mirrored):
        total[i * N // 4 :][:N] += piece * HANN
        weight[i * N // 4 :][:N] += HANN**2
    frames = Frames(N)
    rebuilt = frames.rebuild(frames.analyse(torch.from_numpy(audio)[None]))[0]
    expected = (total / np.maximum(weight, 1e-9))[N // 2 :][:N]
    np.testing.assert_allclose(rebuilt, expected, atol=1e-5)
    assert np.abs(expected - audio).mean() > 0.3 * np.abs(audio).mean()


def test_the_scale_is_the_root_mean_square_with_a_floor():
    frames = torch.zeros(6, 5, N // 2)
    frames[:, 2, 7] = torch.tensor([3.0, -3, 3, -3, 5, -5])
    scale = FrameScale.measure(frames.split(2), N)
    floor = 1e-4 * N / 4
    expected = np.full((5, N // 2), floor, np.float32)
    expected[2, 7] = np.sqrt(86 / 6)
    np.testing.assert_allclose(scale.scale, expected, rtol=1e-6)
    assert scale.scale.dtype == np.float32
    assert scale.forward(frames)[0, 2, 7] == pytest.approx(3 / np.sqrt(86 / 6))
    torch.testing.assert_close(scale.inverse(scale.forward(frames)), frames)


def test_rounding_of_silence_stays_small():
    rounding = torch.from_numpy(np.round(noise(200, 512)) / 32768 + noise(200, 512) / 32768)
    frames = Frames(512).analyse(rounding)
    assert FrameScale.measure([0 * frames], 512).forward(frames).abs().max() < 0.1


# Piano roll.


def test_a_roll_by_hand():
    rows = [
        (3, NOTE_ON, 60, 127),
        (9, NOTE_OFF, 60, 0),
        (10, NOTE_ON, 62, 64),
        (12, CONTROL, SUSTAIN, 100),
        (14, NOTE_OFF, 62, 0),
        (20, CONTROL, SUSTAIN, 0),
        (22, NOTE_ON, 20, 64),  # no key of a piano
        (70, NOTE_ON, 21, 1),  # beyond the block
    ]
    roll = StreamedRoll(32)
    found = roll.process(np.array(rows, SAMPLE_EVENT))
    expected = np.zeros((88, 16))
    expected[60 - 21, 1:4] = 1  # samples 3 to 8: columns 1 to 3
    expected[62 - 21, 5:10] = 64 / 127  # until the pedal rises
    expected[0, 15] = 1 / 127
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    following = roll.process(np.zeros(0, SAMPLE_EVENT))
    np.testing.assert_allclose(following[0], 1 / 127, rtol=1e-6)
    assert not following[1:].any()
    roll.reset()
    assert not roll.process(np.zeros(0, SAMPLE_EVENT)).any()


moves = st.lists(
    st.tuples(
        st.integers(-60, 400),
        st.sampled_from([NOTE_OFF, CONTROL, NOTE_ON]),
        st.integers(58, 68),
        st.sampled_from([0, 30, 100]),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(moves)
def test_a_stream_of_rolls_is_the_roll_of_the_recording(rows):
    events = np.array(sorted(rows, key=lambda row: row[0]), SAMPLE_EVENT)
    recorded, streamed = RecordedRoll(events), StreamedRoll(N)
    for begin in range(0, 320, N):
        last = begin + N == 320
        now = (events["position"] < begin + N) & ((events["position"] >= begin) | (begin == 0))
        part = events[now]
        part["position"] -= begin
        state = streamed.state()
        found = streamed.process(part)
        np.testing.assert_array_equal(found, recorded.window(begin, N))
        streamed.restore(state)
        np.testing.assert_array_equal(streamed.process(part), found)
        assert not last or streamed.state()["standing"].tolist() == found[:, -1].tolist()


def test_a_voice_that_does_not_fit_is_refused(tmp_path, make_voice):
    voice, path = make_voice("unet"), tmp_path / "voice.safetensors"
    assert voice.config.network == Unet(8)
    for part, message in (
        ({"network": Unet(16)}, "size mismatch"),
        ({"network": Unet(12)}, "unet.width must be a multiple of 8, not 12"),
        ({"block": 1024}, "its normaliser does not fit"),
        ({"model": "s6"}, "unknown parameter in"),
    ):
        wrong = dataclasses.replace(voice, config=dataclasses.replace(voice.config, **part))
        save_voice(path, wrong, {})
        with pytest.raises(UserError) as error:
            load_voice(path)
        assert message in str(error.value)
        assert str(path) in str(error.value)
