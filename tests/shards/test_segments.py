import io
import json
import tarfile
import time

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth.audio.files import write_audio
from diffsynth.errors import UserError
from diffsynth.midi.events import (
    CONTROL,
    NOTE_OFF,
    NOTE_ON,
    PEDALS,
    SUSTAIN,
    make_events,
)
from diffsynth.runs.files import read_json, sha256, write_json
from diffsynth.shards.config import Shard
from diffsynth.shards.pieces import Piece, clip, even_parts, lengths, whole
from diffsynth.shards.segments import cut_segments, key_of, read_shards
from diffsynth.shards.writing import plan_shards, write_shards

RATE = 1000
CONFIG = Shard(segment=2.0, context=1.0, megabytes=1.0, fewest=3)
NOTE_ROWS = st.tuples(
    st.integers(0, 80).map(lambda tick: tick / 8),
    st.sampled_from([NOTE_OFF, NOTE_ON]),
    st.integers(60, 62),
    st.integers(1, 127),
)
PEDAL_ROWS = st.tuples(
    st.integers(0, 80).map(lambda tick: tick / 8),
    st.just(CONTROL),
    st.sampled_from(PEDALS),
    st.sampled_from([0, 30, 100]),
)
STREAMS = st.lists(st.one_of(NOTE_ROWS, PEDAL_ROWS), max_size=40).map(make_events)


def ramp(seconds, seed):
    """Noise in 16 bits, so that files keep it as it is."""
    samples = np.random.default_rng(seed).integers(-20000, 20000, round(seconds * RATE))
    return (samples / 32768).astype(np.float32)


PERFORMANCES = {
    "b": ("train", ramp(5.5, 1), [(0.25, NOTE_ON, 60, 80), (4.5, NOTE_OFF, 60, 0), (4.75, NOTE_ON, 64, 70)]),
    "a": (
        "train",
        ramp(4.0, 2),
        [(0.0, CONTROL, SUSTAIN, 127), (0.5, NOTE_ON, 50, 60), (0.75, NOTE_OFF, 50, 0)],
    ),
    "v": ("validation", ramp(1.0, 3), [(0.5, NOTE_ON, 70, 50)]),
    "t": ("test", ramp(2.0, 4), [(2.0, NOTE_ON, 71, 50)]),
}


def write_aligned(folder):
    rows = [{"name": "bad", "split": "train", "status": "rejected", "reason": "wrong"}]
    for name, (split, audio, events) in PERFORMANCES.items():
        write_audio(folder / f"{name}.flac", audio, RATE)
        np.save(folder / f"{name}.npy", make_events(events))
        rows.append({"name": name, "split": split, "status": "ok", "reason": ""})
    write_json(folder / "index.json", {"dataset": "demo", "sample_rate": RATE, "performances": rows})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with aligned data under aligned and shards under shards; not to be changed."""
    folder = tmp_path_factory.mktemp("shards")
    write_aligned(folder / "aligned")
    write_shards(folder / "aligned", folder / "shards", CONFIG)
    return folder


@pytest.fixture
def damaged(built, tmp_path):
    """A copy of the shards that may be damaged."""
    for path in (built / "shards").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_what_is_read_is_what_was_aligned(built):
    for split in ("train", "validation", "test"):
        segments = list(read_shards(built / "shards", split))
        names = sorted(name for name, row in PERFORMANCES.items() if row[0] == split)
        assert sorted({s.name for s in segments}) == names
        for name in names:
            own = [s for s in segments if s.name == name]
            audio = PERFORMANCES[name][1]
            assert [s.index for s in own] == list(range(len(own)))
            assert [s.start for s in own] == [2.0 * index for index in range(len(own))]
            assert sum(s.seconds for s in own) == len(audio) / RATE
            joined = np.concatenate([s.audio for s in own])
            assert (joined[: len(audio)] == audio).all()
            assert not joined[len(audio) :].any()
            assert {len(s.audio) for s in own} == {2 * RATE}
            assert {s.audio.dtype for s in own} == {np.dtype(np.float32)}


def test_segments_carry_their_events_and_what_rings_before(built):
    a, a_next, *b = read_shards(built / "shards", "train")
    assert a.events.tolist() == PERFORMANCES["a"][2]
    # Key 50 was released, but the pedal still holds it; both lie before the second of context.
    assert a_next.events.tolist() == [
        (-2.0, CONTROL, SUSTAIN, 127),
        (-1.5, NOTE_ON, 50, 60),
        (-1.25, NOTE_OFF, 50, 0),
    ]
    assert [s.events.tolist() for s in b] == [
        [(0.25, NOTE_ON, 60, 80)],
        [(-1.75, NOTE_ON, 60, 80)],
        [(-3.75, NOTE_ON, 60, 80), (0.5, NOTE_OFF, 60, 0), (0.75, NOTE_ON, 64, 70)],
    ]
    assert [s.seconds for s in b] == [2.0, 2.0, 1.5]


def test_the_index_counts_and_identifies_the_shards(built):
    index = read_json(built / "shards" / "index.json")
    assert (index["dataset"], index["segment"], index["sample_rate"]) == ("demo", 2.0, RATE)
    counts = {split: [s["samples"] for s in part["shards"]] for split, part in index["splits"].items()}
    assert counts == {"train": [1, 2, 2], "validation": [1], "test": [1]}
    assert {split: part["samples"] for split, part in index["splits"].items()} == {
        "train": 5,
        "validation": 1,
        "test": 1,
    }
    listed = {s["name"]: s["sha256"] for part in index["splits"].values() for s in part["shards"]}
    tars = {path.name: sha256(path) for path in (built / "shards").glob("*.tar")}
    assert listed == tars


def test_members_have_a_fixed_order_and_plain_formats(built):
    with tarfile.open(built / "shards" / "train-000000.tar") as tar:
        assert tar.getnames() == [f"a-00000.{kind}" for kind in ("events.npy", "flac", "json")]
        assert {(m.mtime, m.uname, m.gname) for m in tar} == {(0, "diffsynth", "diffsynth")}
        read = {name: io.BytesIO(tar.extractfile(name).read()) for name in tar.getnames()[:3]}
    events = np.load(read["a-00000.events.npy"], allow_pickle=False)
    assert events.dtype == np.float64
    assert events.tolist() == [list(map(float, row)) for row in PERFORMANCES["a"][2]]
    assert soundfile.info(read["a-00000.flac"]).subtype == "PCM_16"
    facts = json.load(read["a-00000.json"])
    assert facts == {"name": "a", "segment": 0, "start": 0.0, "seconds": 2.0, "sample_rate": RATE}


def test_shards_are_the_same_bytes_at_another_time_and_place(built, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 2e9)
    write_aligned(tmp_path / "other")
    write_shards(tmp_path / "other", tmp_path / "shards", CONFIG)
    names = sorted(path.name for path in (built / "shards").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "shards").iterdir())
    for name in names:
        assert (tmp_path / "shards" / name).read_bytes() == (built / "shards" / name).read_bytes()


def test_rebuilding_leaves_no_stale_shard(built, tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "train-000009.tar").write_text("stale")
    (tmp_path / "shards" / "index.json").write_text("{}")  # without it, the folder may be anybody's
    write_shards(built / "aligned", tmp_path / "shards", CONFIG)
    assert not (tmp_path / "shards" / "train-000009.tar").exists()


@given(events=STREAMS, length=st.integers(1, 60), segment=st.floats(0.2, 3))
@settings(max_examples=50, deadline=None)
def test_every_event_is_in_one_segment_also_if_that_is_no_whole_number_of_samples(events, length, segment):
    rate = 10
    parts = list(cut_segments("x", np.zeros(length, np.float32), events, rate, Shard(segment, 0.0, 1.0, 1)))
    assert sum(part.seconds for part in parts) == pytest.approx(length / rate)
    own = [(part.start + row[0], *row[1:]) for part in parts for row in part.events.tolist() if row[0] >= 0]
    end = len(parts) * round(segment * rate) / rate
    wanted = events[events["time"] < end].tolist()
    assert [row[1:] for row in own] == [row[1:] for row in wanted]
    assert [row[0] for row in own] == pytest.approx([row[0] for row in wanted])


@pytest.mark.parametrize("keep", [0, 512, 5000, -1024, -1])
def test_a_truncated_shard_is_named_before_anything_is_read(damaged, keep):
    shard = damaged / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(
        UserError,
        match=r"train-000000\.tar is damaged, its SHA-256 is \w{64} \(1 samples, SHA-256 \w{64}\); run",
    ):
        next(read_shards(damaged, "train"))


def test_a_flipped_bit_is_noticed(damaged):
    shard = damaged / "validation-000000.tar"
    content = bytearray(shard.read_bytes())
    content[2000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"validation-000000\.tar is damaged"):
        list(read_shards(damaged, "validation"))
    assert len(list(read_shards(damaged, "train"))) == 5


def test_a_sample_that_lacks_a_member_is_noticed_even_if_the_checksum_fits(damaged):
    shard = damaged / "test-000000.tar"
    with tarfile.open(shard) as tar:
        kept = {m.name: tar.extractfile(m).read() for m in tar if not m.name.endswith(".flac")}
    with tarfile.open(shard, "w") as tar:
        for name, content in kept.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    index = read_json(damaged / "index.json")
    index["splits"]["test"]["shards"][0]["sha256"] = sha256(shard)
    write_json(damaged / "index.json", index)
    with pytest.raises(UserError, match=r"test-000000\.tar lacks flac of t-00000"):
        list(read_shards(damaged, "test"))


def test_what_is_missing_is_named(damaged, tmp_path):
    (damaged / "test-000000.tar").unlink()
    with pytest.raises(UserError, match=r"test-000000\.tar is missing \(1 samples, SHA-256 "):
        list(read_shards(damaged, "test"))
    with pytest.raises(UserError, match="unknown split 'holdout': choose one of train, validation, test"):
        list(read_shards(damaged, "holdout"))
    with pytest.raises(UserError, match=r"index\.json does not exist; run `diffsynth shard` first"):
        list(read_shards(tmp_path / "no", "train"))
    with pytest.raises(UserError, match=r"index\.json does not exist"):
        write_shards(tmp_path / "no", tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()


def test_a_shard_that_cannot_be_read_is_named(damaged):
    (damaged / "test-000000.tar").unlink()
    (damaged / "test-000000.tar").mkdir()
    with pytest.raises(UserError, match=r"test-000000\.tar cannot be read: Is a directory \(1 samples, SHA"):
        list(read_shards(damaged, "test"))


def test_a_segment_without_a_sample_is_refused(built, tmp_path):
    with pytest.raises(UserError, match=r"shard\.segment"):
        write_shards(built / "aligned", tmp_path / "out", Shard(0.0, 1.0, 1.0, 2))
    assert not (tmp_path / "out").exists()


def test_the_index_says_what_lies_where(built):
    index = read_json(built / "shards" / "index.json")
    shards = index["splits"]["train"]["shards"]
    assert [[tuple(piece.values()) for piece in shard["pieces"]] for shard in shards] == [
        [("a", 0, 1, 2000)],
        [("a", 1, 1, 2000), ("b", 0, 1, 2000)],
        [("b", 1, 2, 3500)],
    ]
    assert [s["bytes"] for s in shards] == [(built / "shards" / s["name"]).stat().st_size for s in shards]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(1, 9), st.integers(1, 8))
def test_parts_of_pieces_are_the_segments_in_order(samples, length, parts):
    pieces = [whole(f"p{i}", n, length) for i, n in enumerate(samples)]
    expected = [
        (f"p{i}", k, min(length, n - k * length))
        for i, n in enumerate(samples)
        for k in range(-(-n // length))
    ]
    found, runs = [], even_parts(len(expected), parts)
    for first, last in runs:
        part = clip(pieces, first, last, length)
        rows = [(p.name, p.first + i) for p in part for i in range(p.count)]
        found += [(*row, n) for row, n in zip(rows, lengths(part, length), strict=True)]
    assert found == expected
    sizes = [last - first for first, last in runs]
    assert max(sizes) - min(sizes) <= 1


def test_small_splits_have_as_many_shards_as_asked_and_large_ones_as_their_size_needs():
    config, pieces = Shard(1.0, 0.0, megabytes=200, fewest=4), [whole("x", 5000, 10)]
    assert len(plan_shards("train", pieces, 1e6, config, 10)) == 4
    assert len(plan_shards("train", pieces, 1.3e9, config, 10)) == 7
    assert [p.pieces for p in plan_shards("test", [whole("x", 15, 10)], 1e3, config, 10)] == [
        [Piece("x", 0, 1, 10)],
        [Piece("x", 1, 1, 5)],
    ]


def test_keys_hold_no_dot_where_webdataset_would_end_them():
    from webdataset.tariterators import base_plus_ext

    names = ["a", "1. Flügel/Op. 9 No. 1", "a.b", "a%2Eb", "__x__/y"]
    keys = [key_of(name, 7) for name in names]
    assert keys[:2] == ["a-00007", "1. Flügel/Op%2E 9 No%2E 1-00007"]
    assert len(set(keys)) == len(names)
    for key in keys:
        assert base_plus_ext(f"{key}.events.npy") == (key, "events.npy")
        assert not key.startswith("__")
