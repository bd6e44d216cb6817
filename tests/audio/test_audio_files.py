import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth.audio.files import (
    BLOCK,
    AudioFile,
    SampleRange,
    Spool,
    audio_length,
    read_audio,
    resample,
    stream_audio,
    write_audio,
)
from diffsynth.audio.recording import RecordingFile
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


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (48000, 2), (24000, 1), (37123, 3)])
def test_a_stream_is_what_reading_and_resampling_make(tmp_path, rate, channels):
    noise = np.random.default_rng(0).uniform(-1, 1, (12 * rate, channels))
    soundfile.write(tmp_path / "a.wav", noise, rate, subtype="PCM_16")
    spool = Spool(tmp_path)
    for block in stream_audio(tmp_path / "a.wav", 24000):
        spool.append(block)
    whole = resample(*read_audio(tmp_path / "a.wav"), 24000)
    assert len(spool) == len(whole) == 12 * 24000
    assert (spool[:] == whole).all()
    assert (spool[1000:1005] == whole[1000:1005]).all()
    # The file has no name: nothing stays if the process is killed.
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_part_may_reach_beyond_both_ends(tmp_path):
    part = SampleRange(np.arange(1, 6, dtype=np.float32), -2, 8)
    assert len(part) == 10
    assert part[:].tolist() == [0, 0, 1, 2, 3, 4, 5, 0, 0, 0]
    assert part[1:4].tolist() == [0, 1, 2]
    write_audio(tmp_path / "part.wav", SampleRange(0.1 * np.ones(9, np.float32), 3, 7), 8000, "FLOAT")
    assert read_audio(tmp_path / "part.wav")[0].tolist() == [np.float32(0.1)] * 4


def test_a_file_is_read_from_any_place(tmp_path):
    noise = np.random.default_rng(0).integers(-9999, 9999, 100_000).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", noise, 24000)
    whole, _ = read_audio(tmp_path / "a.flac")
    with AudioFile(tmp_path / "a.flac") as audio:
        for start, stop in ((90_000, 99_999), (0, 5), (4095, 4097), (99_990, 120_000), (50_000, 50_000)):
            assert (audio[start:stop] == whole[start:stop]).all()
    assert audio_length(tmp_path / "a.flac") == 100_000


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_sixteen_bits_are_rounded_to_the_nearest(tmp_path, name):
    steps = np.array([0.4, 0.6, 1.4, -0.4, -0.6, 40000, -40000, 32766.7], dtype=np.float32)
    expected = [0, 1, 1, 0, -1, 32767, -32768, 32767]
    write_audio(tmp_path / name, steps / 32768, 24000)
    assert soundfile.read(tmp_path / name, dtype="int16")[0].tolist() == expected
    with RecordingFile(tmp_path / f"live-{name}", 24000) as file:
        file.write(steps / 32768)
    assert soundfile.read(tmp_path / f"live-{name}", dtype="int16")[0].tolist() == expected


def test_what_is_nearly_silent_is_silent(tmp_path):
    write_audio(tmp_path / "a.wav", np.full(1000, -1e-6, dtype=np.float32), 24000)
    assert not soundfile.read(tmp_path / "a.wav")[0].any()
