"""Channels: what files of one or more are turned into."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.audio.channels import apart, converted, count, interleaved, mixed
from diffsynth.audio.files import AudioFile, Mixed, Spool, padded, read_audio, stream_audio, write_audio
from diffsynth.errors import UserError


def noise(length, channels):
    shape = (length, channels) if channels > 1 else length
    return np.random.default_rng(length).uniform(-1, 1, shape).astype(np.float32)


@given(length=st.integers(0, 50), channels=st.integers(1, 3))
def test_channels_come_apart_and_together(length, channels):
    audio = noise(length, channels)
    assert count(audio) == channels
    separate = apart(audio)
    assert separate.shape == (channels, length)
    np.testing.assert_array_equal(interleaved(separate), audio)
    np.testing.assert_allclose(mixed(audio), separate.mean(axis=0), atol=1e-6)


def test_one_channel_is_heard_in_both_and_two_in_one():
    mono, stereo = noise(20, 1), noise(20, 2)
    for one in (mono, mono[:, None]):
        np.testing.assert_array_equal(converted(one, 2), np.stack([mono, mono], axis=1))
        np.testing.assert_array_equal(converted(one, 1), mono)
    assert converted(stereo, 2) is stereo
    np.testing.assert_allclose(converted(stereo, 1), (stereo[:, 0] + stereo[:, 1]) / 2, atol=1e-7)


def test_six_channels_are_refused_by_name(tmp_path):
    soundfile.write(tmp_path / "six.wav", np.zeros((100, 6)), 24000)
    with pytest.raises(UserError, match=r"six\.wav: audio of 6 channels cannot be heard in 2"):
        read_audio(tmp_path / "six.wav", 2)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_two_channels_survive_a_file(tmp_path, suffix):
    path, audio = tmp_path / f"x.{suffix}", noise(1000, 2)
    write_audio(path, audio, 44100)
    found, rate = read_audio(path, 2)
    assert rate == 44100
    np.testing.assert_allclose(found, audio, atol=1 / 32768)
    with AudioFile(path) as file:
        np.testing.assert_array_equal(file[100:200], found[100:200])
        np.testing.assert_array_equal(padded(file, 990, 20), np.pad(found[990:], ((0, 10), (0, 0))))


def test_each_channel_is_resampled_as_if_alone(tmp_path):
    audio = noise(30000, 2)
    soundfile.write(tmp_path / "both.wav", audio, 44100, "FLOAT")
    both = np.concatenate(list(stream_audio(tmp_path / "both.wav", 24000, 2)))
    for channel in (0, 1):
        soundfile.write(tmp_path / "one.wav", audio[:, channel], 44100, "FLOAT")
        alone = np.concatenate(list(stream_audio(tmp_path / "one.wav", 24000)))
        np.testing.assert_allclose(both[:, channel], alone, atol=1e-6)


def test_a_spool_keeps_channels_and_gives_their_mean(tmp_path):
    audio = noise(100, 2)
    spool = Spool(tmp_path, 2)
    for block in np.array_split(audio, 7):
        spool.append(block)
    assert len(spool) == len(Mixed(spool)) == 100
    np.testing.assert_array_equal(spool[13:57], audio[13:57])
    np.testing.assert_allclose(Mixed(spool)[13:57], audio[13:57].mean(axis=1), atol=1e-7)
