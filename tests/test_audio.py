import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth.audio import BLOCK, read_audio, resample, write_audio
from diffsynth.errors import UserError


def refused(path):
    with pytest.raises(UserError) as caught:
        read_audio(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def tone(frequency, rate, seconds=1.0):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@given(
    samples=st.lists(st.integers(-32768, 32767), min_size=1, max_size=300),
    suffix=st.sampled_from(["wav", "flac"]),
)
@settings(max_examples=50, deadline=None)
def test_16_bit_samples_survive_a_file(tmp_path_factory, samples, suffix):
    path = tmp_path_factory.mktemp("audio") / f"x.{suffix}"
    audio = np.array(samples, np.float32) / 32768
    write_audio(path, audio, 24000)
    back, rate = read_audio(path)
    assert rate == 24000
    assert back.dtype == np.float32
    assert back.tolist() == audio.tolist()


def test_what_exceeds_full_scale_is_clipped_not_wrapped(tmp_path):
    write_audio(tmp_path / "x.wav", np.array([1.5, -1.5, 0.25], np.float32), 24000)
    back, _ = read_audio(tmp_path / "x.wav")
    assert back == pytest.approx([1, -1, 0.25], abs=1e-4)


def test_channels_are_averaged_at_an_odd_rate(tmp_path):
    left, right = tone(440, 37123), np.full(37123, 0.25, np.float32)
    soundfile.write(tmp_path / "x.wav", np.stack([left, right], axis=1), 37123, subtype="FLOAT")
    audio, rate = read_audio(tmp_path / "x.wav")
    assert rate == 37123
    assert audio == pytest.approx((left + right) / 2, abs=1e-7)


@pytest.mark.parametrize("frames", [BLOCK - 1, BLOCK, 2 * BLOCK + 5])
def test_long_files_are_read_without_a_seam(tmp_path, frames):
    samples = np.random.default_rng(0).integers(-30000, 30000, (frames, 2)).astype(np.int16)
    soundfile.write(tmp_path / "x.flac", samples, 24000)
    audio, _ = read_audio(tmp_path / "x.flac")
    assert (audio == samples.astype(np.float32).mean(axis=1) / 32768).all()


@pytest.mark.parametrize(
    ("rate", "new_rate"), [(44100, 24000), (37123, 24000), (11025, 24000), (48000, 24000)]
)
def test_resampling_neither_delays_nor_scales(rate, new_rate):
    result = resample(tone(1000, rate), rate, new_rate)
    assert result.dtype == np.float32
    assert len(result) == new_rate
    middle = slice(2000, -2000)
    assert result[middle] == pytest.approx(tone(1000, new_rate)[middle], abs=1e-3)


def test_resampling_to_the_same_rate_changes_nothing():
    audio = tone(440, 24000)
    assert resample(audio, 24000, 24000) is audio


def test_a_missing_file(tmp_path):
    assert "does not exist" in refused(tmp_path / "no.wav")


@pytest.mark.parametrize("content", [b"", b"not audio", b"fLaC\x00\x00\x00\x22" + bytes(20)])
def test_what_is_no_audio(tmp_path, content):
    (tmp_path / "x.flac").write_bytes(content)
    assert "is not a readable audio file" in refused(tmp_path / "x.flac")


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros(0, np.float32), 24000)
    assert "holds no samples" in refused(tmp_path / "x.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers(tmp_path, bad):
    audio = np.zeros((1000, 2), np.float32)
    audio[700, 1] = bad
    soundfile.write(tmp_path / "x.wav", audio, 24000, subtype="FLOAT")
    assert "not numbers" in refused(tmp_path / "x.wav")


def test_writing_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*x\.wav"):
        write_audio(tmp_path / "file" / "x.wav", np.zeros(10, np.float32), 24000)
