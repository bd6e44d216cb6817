"""Which stretches are played, and where they are called bad."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from support.report_page import RATE

from diffsynth.comparison.clips import band_levels, clips_of, longest, worst_moments
from diffsynth.comparison.report import vega
from diffsynth.comparison.tables import ABOVE, BELOW
from diffsynth.errors import UserError

DEMO = Path(__file__).parents[2] / "data" / "demo"


def noise(seconds, seed=0):
    return (0.05 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype("f4")


def tone(frequency, begin, end, seconds):
    time = np.arange(round(seconds * RATE)) / RATE
    return (np.sin(2 * np.pi * frequency * time) * ((time >= begin) & (time < end))).astype("f4")


def test_a_page_of_eight_models_and_three_clips_stays_below_20_mb(tmp_path):
    """Six seconds of the demo's test performances, as long as clips of all systems are, in base64."""
    part, names = 6.0, ("dense_21", "music_12", "satie_gymnopedie_1")
    for folder, suffix in (("aligned", "flac"), ("s6", "wav")):
        (tmp_path / folder).mkdir()
        for name in names:
            audio, _ = soundfile.read(DEMO / f"{name}.flac", start=4 * RATE, frames=round(part * RATE))
            soundfile.write(tmp_path / folder / f"{name}.{suffix}", audio, RATE)
    clips = clips_of(tmp_path / "aligned", {"s6": tmp_path / "s6"}, ["s6"])
    tracks = [track for clip in clips for track in clip.tracks]
    assert (len(tracks), clips[0].seconds) == (6, part)
    systems = 8 + len(ABOVE) + len(BELOW)  # the recording among them
    size = sum(len(track.mp3) + len(track.levels) for track in tracks) / len(tracks)
    whole = 3 * systems * size * longest(3, systems) / part
    assert 10e6 < 4 / 3 * whole + len(vega()) < 19e6


def test_the_worst_moments_say_where_and_how():
    recording = noise(8.0)
    rendering = recording + 0.5 * tone(120, 2, 2.6, 8) + 0.5 * tone(6000, 6, 6.6, 8)
    found = worst_moments(band_levels(recording, RATE), band_levels(rendering, RATE), RATE)
    near = [min(found, key=lambda moment: abs(moment.time - at)) for at in (2.3, 6.3)]
    assert [abs(m.time - at) < 0.35 for m, at in zip(near, (2.3, 6.3), strict=True)] == [True, True]
    assert [m.text.partition(", ")[2] for m in near] == ["too loud in the bass", "too loud in the treble"]
    assert [m.time for m in found] == sorted(m.time for m in found)
    softer = worst_moments(band_levels(rendering, RATE), band_levels(recording, RATE), RATE)
    assert "too soft in the bass" in {m.text.partition(", ")[2] for m in softer}


def test_equal_sounds_have_no_worst_moment():
    levels = band_levels(noise(3.0), RATE)
    assert worst_moments(levels, levels, RATE) == []


def test_clips_are_nearest_median_and_farthest_and_the_worst_stretch(tmp_path):
    """Of five performances of a minute, of which one is spoilt between 30 and 40 s most."""
    (tmp_path / "aligned").mkdir()
    (tmp_path / "s6").mkdir()
    for number in range(5):
        recording = noise(60.0, number)
        spoilt = recording + 0.02 * number * tone(1000, 30, 40, 60)
        soundfile.write(tmp_path / "aligned" / f"p{number}.flac", recording, RATE)
        soundfile.write(tmp_path / "s6" / f"p{number}.wav", spoilt, RATE)
    clips = clips_of(tmp_path / "aligned", {"s6-512": tmp_path / "s6"}, ["s6-512"])
    assert [clip.name for clip in clips] == ["p0", "p2", "p4"]
    for clip in clips[1:]:
        assert clip.begin <= 30.5
        assert clip.begin + clip.seconds >= 39.5
        assert (clip.total, round(clip.seconds)) == (60.0, 24)
    assert [track.system for track in clips[0].tracks] == ["recording", "s6-512"]


@pytest.mark.parametrize(
    ("shape", "rate", "message"),
    [
        ((0,), RATE, "s6/a.wav holds no samples"),
        ((RATE,), 44100, f"s6/a.wav has 44100 Hz, and its recording {RATE} Hz"),
    ],
)
def test_a_rendering_that_cannot_stand_beside_its_recording_is_named(shape, rate, message, tmp_path):
    for folder in ("aligned", "s6"):
        (tmp_path / folder).mkdir()
    soundfile.write(tmp_path / "aligned" / "a.flac", noise(1.0), RATE)
    soundfile.write(tmp_path / "s6" / "a.wav", np.full(shape, 0.1), rate)
    with pytest.raises(UserError, match=message):
        clips_of(tmp_path / "aligned", {"s6": tmp_path / "s6"}, ["s6"])


def test_clips_of_two_channels_are_their_mean(tmp_path):
    for folder in ("aligned", "s6"):
        (tmp_path / folder).mkdir()
    left, right = noise(2.0), noise(2.0)[::-1]
    for folder, channels in (("aligned", [left, right]), ("s6", [(left + right) / 2])):
        suffix = "flac" if folder == "aligned" else "wav"
        soundfile.write(tmp_path / folder / f"a.{suffix}", np.stack(channels, axis=1), RATE)
    (clip,) = clips_of(tmp_path / "aligned", {"s6": tmp_path / "s6"}, ["s6"])
    first, second = (np.asarray(Image.open(io.BytesIO(track.levels))).astype(int) for track in clip.tracks)
    assert np.abs(first - second).max() <= 1  # both were rounded to 16 bits
