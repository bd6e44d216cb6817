"""Features: what a network learns does not depend on how a performance was cut, or by whom it is computed."""

from dataclasses import replace

import numpy as np
import pytest
from support.feature_folders import Arrays, levels_of
from support.noisy_piano import with_noise

from diffsynth.audio.files import write_audio
from diffsynth.audio.format import AudioFormat
from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, UNA_CORDA, make_events, to_samples
from diffsynth.piano.piano import save_piano
from diffsynth.piano.playing import play_whole
from diffsynth.representation.config import Features
from diffsynth.representation.feature_shards import FeatureFolder, write_features
from diffsynth.representation.features import FeatureMaker
from diffsynth.representation.targets import Targets
from diffsynth.runs.files import write_json
from diffsynth.runs.threads import threads
from diffsynth.shards.config import Shard
from diffsynth.shards.segments import Segment, cut_segments, read_shards
from diffsynth.shards.writing import write_shards

RATE, FRAME = 24000, 128
AUDIO = AudioFormat(RATE, FRAME)
FEATURES = Features(16, 0, highest=10500.0, knee=700.0, window=1024, floor=-80.0, hop=1, ages=[1.0])
BANDS, KEYS = 16, 88
SMALL = replace(FEATURES, bands=4)


def performance(seconds=6.0):
    """Long and short notes, pedalled and not, repeated keys."""
    rng = np.random.default_rng(3)
    rows = [(0.0, NOTE_ON, 33, 90), (5.5, NOTE_OFF, 33, 0)]
    rows += [(1.0, CONTROL, SUSTAIN, 127), (4.1, CONTROL, SUSTAIN, 0), (2.2, CONTROL, UNA_CORDA, 50)]
    for _ in range(50):
        onset, key = rng.uniform(0, seconds - 0.5), int(rng.integers(40, 90))
        rows += [(onset, NOTE_ON, key, int(rng.integers(30, 110))), (onset + 0.3, NOTE_OFF, key, 0)]
    return make_events(rows)


def played(piano, events, seconds, gain=1.0):
    """A recording of the piano itself, louder by a factor."""
    length = int(seconds * RATE)
    return gain * play_whole(piano, to_samples(events, RATE), RATE, FRAME, length)


def features_of(piano, segment, features=FEATURES):
    """Condition, gains, weights and levels of a segment."""
    cond, levels, _ = FeatureMaker(piano, AUDIO, features)(segment)
    return cond, *Targets(features, AUDIO)(levels), levels


def test_features_do_not_depend_on_where_a_performance_is_cut(piano):
    events = performance()
    audio = played(piano, events, 6.0) + 1e-3 * np.random.default_rng(1).standard_normal(144000)
    audio = audio.astype(np.float32)
    whole = features_of(piano, Segment("x", 0, 0.0, 6.0, audio, events))
    assert whole[0].shape == (1125, BANDS + 2 * KEYS + 3)
    # 1.6 s are 300 frames, no multiple of what is played at a time; 0.5 s of context leave notes behind.
    segments = list(cut_segments("x", audio, events, RATE, Shard(1.6, 0.5, 1.0, 1)))
    assert [len(segment.audio) for segment in segments] == [38400] * 4
    for segment in segments:
        place = slice(300 * segment.index, min(300 * (segment.index + 1), 1125))
        cond, gains, weight, _ = features_of(piano, segment)
        frames = place.stop - place.start
        np.testing.assert_allclose(cond[:frames], whole[0][place], atol=2e-3)
        # At its ends the analysis window sees what lies outside of a segment as silence.
        inner = slice(4, frames - 4)
        np.testing.assert_allclose(gains[inner], whole[1][place][inner], atol=5e-3)
        np.testing.assert_allclose(weight[inner], whole[2][place][inner], atol=2e-3)
        assert weight[inner].max() > 0.9


def test_recordings_are_explained_by_exact_sums_of_strikes(piano):
    rows = [(0.0, CONTROL, SUSTAIN, 127), *((0.3 * i, NOTE_ON, 76, 60 + i) for i in range(9))]
    events = make_events(rows)
    segment = Segment("x", 0, 0.0, 3.0, played(piano, events, 3.0), events)
    exact, scattered = (features_of(replace(piano, jitter=jitter), segment) for jitter in (0.0, 4e-4))
    for one, other in zip(exact, scattered, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(exact[1][exact[2] > 0.5]).max() < 2e-3


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_a_recording_of_the_piano_has_its_gain_everywhere(piano, gain):
    events = performance()
    audio = played(piano, events, 4.0, gain)
    _, gains, weight, _ = features_of(piano, Segment("x", 0, 0.0, 4.0, audio, events))
    assert (weight > 0.5).mean() > 0.1
    np.testing.assert_allclose(gains[weight > 0.5], np.log(gain), atol=5e-3)  # half precision of levels


def test_the_condition_says_what_is_struck_and_how_the_pedals_stand(piano):
    rows = [(0.5, CONTROL, SUSTAIN, 127), (0.7, NOTE_ON, 60, 100), (0.9, CONTROL, SUSTAIN, 64)]
    audio = np.zeros(RATE, np.float32)
    cond, _, _, _ = features_of(piano, Segment("x", 0, 0.0, 1.0, audio, make_events(rows)))
    strikes, pedals = cond[:, BANDS + KEYS : -3], cond[:, -3:]
    frame = int(0.7 * RATE) // FRAME
    assert np.argwhere(strikes).tolist() == [[frame, 39]]
    assert strikes[frame, 39] == pytest.approx(100 / 127, abs=1e-3)
    expected = np.zeros(187)
    expected[int(0.5 * RATE) // FRAME :] = 1
    expected[int(0.9 * RATE) // FRAME :] = 64 / 127
    np.testing.assert_allclose(pedals[:, 0], expected, atol=1e-3)
    assert not pedals[:, 1:].any()
    assert not cond[:frame, : BANDS + KEYS].any()
    level = cond[:, BANDS + 39]
    assert level[frame] > 0.9
    assert (np.diff(level[frame:]) < 0).all()  # a struck string only dies away


def test_pedals_long_before_the_segment_are_known_at_its_start(piano):
    audio = np.zeros(RATE, np.float32)
    notes = [(-0.4, NOTE_ON, 60, 90), (-0.3, NOTE_OFF, 60, 0)]
    found = [
        features_of(piano, Segment("x", 0, 0.0, 1.0, audio, make_events([*pedal, *notes])))[0]
        for pedal in (
            [(-1e5, CONTROL, SUSTAIN, 127), (-1e5, CONTROL, UNA_CORDA, 30)],
            [(-0.5, CONTROL, SUSTAIN, 127), (-0.5, CONTROL, UNA_CORDA, 30)],
            [],
        )
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0][:, [-3, -1]], [[1, 30 / 127]] * 187, atol=1e-3)
    assert found[0][100, BANDS + 39] > 0.5 > 0.1 > found[2][100, BANDS + 39]


def test_any_number_of_processes_and_threads_computes_the_same(piano, tmp_path):
    events = performance(3.0)
    audio = played(piano, events, 3.0, 1.5).astype(np.float32)
    rows = []
    for name, split in (("a", "train"), ("v", "validation")):
        write_audio(tmp_path / "aligned" / f"{name}.flac", audio, RATE)
        np.save(tmp_path / "aligned" / f"{name}.npy", events)
        rows.append({"name": name, "split": split, "status": "ok"})
    index = {"dataset": "demo", "sample_rate": RATE, "performances": rows}
    write_json(tmp_path / "aligned" / "index.json", index)
    write_shards(tmp_path / "aligned", tmp_path / "shards", Shard(1.0, 1.0, 1.0, 2))
    save_piano(tmp_path / "piano.safetensors", piano)
    inputs = tmp_path / "shards", tmp_path / "piano.safetensors"
    made = {}
    for workers, count in (1, 1), (1, 2), (2, 2):
        folder = tmp_path / f"{workers}-{count}"
        with threads(count):
            index = write_features(*inputs, folder, AUDIO, FEATURES, workers)
        assert index["dataset"] == "demo"
        made[folder.name] = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(made["1-1"]) == 5
    assert made["1-1"] == made["1-2"] == made["2-2"]
    segments = list(read_shards(tmp_path / "shards", "train"))
    found = FeatureFolder(tmp_path / "1-1", "train")
    assert found.recorded == [[187], [187, 187]]
    for segment, place in zip(segments, [(0, 0), (1, 0), (1, 1)], strict=True):
        with threads(1):
            made_here = FeatureMaker(piano, AUDIO, FEATURES)(segment)
        for values, expected in zip(found.read(*place, slice(None)), made_here[:2], strict=True):
            assert values.dtype == np.float16
            np.testing.assert_array_equal(values, expected.astype(np.float16))
        sounds = found.read_sounds(*place, 0, 187)
        scale = np.linalg.norm(sounds[:, 0]) / np.linalg.norm(made_here.sounds[:, 0])
        np.testing.assert_allclose(sounds, scale * made_here.sounds, atol=1e-4 * np.abs(sounds).max())
        part = found.read(*place, slice(20, 52))[1]
        np.testing.assert_array_equal(part, features_of(piano, segment)[3][20:52].astype(np.float16))


def some_features():
    rng = np.random.default_rng(0)
    cond, gains = rng.standard_normal((4, 3, 5)), rng.uniform(-1, 1, (4, 3, 4))
    return Arrays(cond.astype(np.float16), levels_of(gains, np.array([0, 1, 1, 0])[:, None, None]))


def test_the_normaliser_has_the_moments_of_what_counts():
    features = some_features()
    normaliser = features.opened(SMALL).moments().normaliser()
    counted = Targets(SMALL, AUDIO)(features.levels[1:3])
    gains, weight = (values.reshape(-1, 4).astype(np.float64) for values in counted)
    mean = np.average(gains, axis=0, weights=weight)
    np.testing.assert_allclose(normaliser.mean, mean, rtol=1e-3, atol=1e-3)
    variance = np.average((gains - mean) ** 2, axis=0, weights=weight)
    np.testing.assert_allclose(normaliser.scale, np.sqrt(variance), rtol=1e-3)


def test_a_damaged_or_missing_shard_is_named_with_what_it_held(tmp_path):
    with pytest.raises(UserError, match="does not exist; run `diffsynth features` first"):
        FeatureFolder(tmp_path, "train")
    some_features().write(tmp_path, SMALL)
    shard = tmp_path / "train-000001.tar"
    whole = shard.read_bytes()
    for content in (whole[:-1], whole[:20], b"", whole[:3000] + b"x" + whole[3001:]):
        shard.write_bytes(content)
        folder = FeatureFolder(tmp_path, "train")
        folder.read(0, 0, slice(None))
        with pytest.raises(UserError, match=r"000001\.tar is damaged, .* \(2 samples, .*; run `diff"):
            folder.read(1, 0, slice(None))


def test_noise_of_the_piano_is_part_of_the_excitation_and_of_the_condition(piano):
    noisy = with_noise(piano, floor=1e-6)
    recording = played(noisy, make_events([]), 6.0)
    segment = Segment("x", 0, 0.0, 5.9, np.roll(recording, 9999)[: int(5.9 * RATE)], make_events([]))
    with_it, without = (features_of(one, segment) for one in (noisy, piano))
    # The level of noise in a window is a matter of chance, but not in the mean.
    np.testing.assert_allclose(with_it[1][8:-8].mean(axis=0), 0, atol=0.3)
    assert without[1][8:-8].mean() > 1.5
    assert not without[0][:, :BANDS].any()
    heard = 1e-8 * (10 ** (4 * with_it[0][8:, :BANDS]) - 1)  # back from decades above the floor
    np.testing.assert_allclose(heard.sum(axis=1), 24e-6, rtol=0.01)
