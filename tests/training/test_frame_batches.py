"""What the published network learns from, and its training."""

import dataclasses
import json
from dataclasses import asdict
from itertools import count, islice

import numpy as np
import pytest
import torch
from support.small_training import TRAIN as SMALL

from diffsynth.errors import UserError
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.models.unet import Unet
from diffsynth.models.unet.network import DROPOUT, Dropout
from diffsynth.representation.piano_roll import RecordedRoll
from diffsynth.representation.stft_frames import Frames, FrameScale
from diffsynth.runs.files import sha256, write_json
from diffsynth.shards.pieces import Piece
from diffsynth.shards.segments import Segment, key_of, segment_members
from diffsynth.shards.tars import write_tar
from diffsynth.training.config import Diffusion
from diffsynth.training.frame_batches import FrameExamples, RecordedBlocks
from diffsynth.training.trainer import Trainer

RATE, N = 24000, 64  # a block is short here; nothing depends on its size
TRAIN = dataclasses.replace(SMALL, steps=3, mini_batch_size=2, sequence=1, warmup=0, learning_rate=3e-3)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def segment(index=0, samples=4 * N, padding=0, seed=0):
    audio = np.round(noise(samples, seed=seed) * 32768) / np.float32(32768)
    events = make_events(
        [(-0.001, NOTE_ON, 50, 90), (N / RATE, NOTE_ON, 60, 64), (2.5 * N / RATE, NOTE_OFF, 60, 0)]
    )
    return Segment("a", index, 8.0 * index, samples / RATE, np.pad(audio, (0, padding)), events)


@pytest.fixture
def recorded(tmp_path):
    """Writes segments, each a performance of its own, to shards of two, and opens their blocks."""
    folders = count()

    def made(*segments):
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        shards = []
        for first in range(0, len(segments), 2):
            part, name = segments[first : first + 2], f"train-{first:06d}.tar"
            rows = enumerate(part, first)
            write_tar(folder / name, ((key_of(str(i), s.index), segment_members(s, RATE)) for i, s in rows))
            pieces = [asdict(Piece("a", s.index, 1, round(s.seconds * RATE))) for s in part]
            facts = {"name": name, "sha256": sha256(folder / name), "samples": len(part)}
            shards.append({**facts, "pieces": pieces})
        splits = {"train": {"samples": len(segments), "shards": shards}}
        write_json(folder / "index.json", {"segment": 8.0, "sample_rate": RATE, "splits": splits})
        return RecordedBlocks(folder, "train", N, RATE)

    return made


def test_pairs_are_neighbours_with_the_roll_of_the_later_block(recorded):
    part = segment(index=1)
    recordings = recorded(part)
    assert recordings.counts == [[3]]
    assert recordings.samples(0, 0) == 4 * N
    roll = RecordedRoll(to_samples(part.events, RATE))
    for begin in (0, 1, 37, 2 * N):
        audio, found = recordings.pair(0, 0, begin)
        np.testing.assert_array_equal(audio.flatten(), part.audio[begin : begin + 2 * N])
        np.testing.assert_array_equal(found, roll.window(begin + N, N))
    assert recordings.pair(0, 0, 0)[1][60 - 21].min() == pytest.approx(64 / 127)
    assert recordings.pair(0, 0, 0)[1][50 - 21].min() == pytest.approx(90 / 127)


def test_a_performance_begins_after_silence_and_padding_is_not_learned(recorded):
    first, later = segment(samples=3 * N, padding=500), segment(index=1, samples=3 * N, seed=1)
    recordings = recorded(first, later, segment(index=1, samples=2 * N - 1))
    assert recordings.counts == [[3, 2], [0]]
    audio, roll = recordings.pair(0, 0, 0)
    assert not audio[0].any()
    np.testing.assert_array_equal(audio[1], first.audio[:N])
    assert not roll[60 - 21].any()
    half, _ = recordings.pair(0, 0, N // 2)
    np.testing.assert_array_equal(half.flatten(), np.pad(first.audio[: 3 * N // 2], (N // 2, 0)))
    np.testing.assert_array_equal(recordings.pair(0, 0, 2 * N)[0][1], first.audio[2 * N : 3 * N])
    np.testing.assert_array_equal(recordings.pair(0, 1, 0)[0].flatten(), later.audio[: 2 * N])
    np.testing.assert_array_equal(recordings.pair(0, 1, N)[0].flatten(), later.audio[N:])
    frames = torch.cat(list(recordings.batches(Frames(N))))
    assert len(frames) == 4 + 3


def test_recordings_without_a_block_are_refused(recorded):
    with pytest.raises(UserError, match="no recording holds a block of 64 samples with one before it"):
        recorded(segment(samples=N - 1))
    with pytest.raises(UserError, match="no recording holds a block of 64 samples"):
        recorded()


@pytest.fixture
def examples(recorded):
    """Makes examples of two segments; 4 blocks and 1 of silence before, and 4."""

    def made(audio=0, **options):
        recordings = recorded(segment(seed=audio), segment(index=1, seed=audio + 1))
        scale = FrameScale.measure(recordings.batches(Frames(N)), N)
        return FrameExamples(recordings, scale, dataclasses.replace(TRAIN, **options))

    return made


def test_examples_are_normalised_frames(recorded):
    recordings = recorded(segment(samples=N))  # of which there is one block
    scale = FrameScale(np.random.default_rng(1).uniform(1, 2, (5, N // 2)).astype(np.float32))
    batch = FrameExamples(recordings, scale, dataclasses.replace(TRAIN, batch_size=3)).draw(0)
    frames = Frames(N).analyse(torch.from_numpy(segment(samples=N).audio)[None])[0]
    frames = scale.forward(frames)
    for x in batch.x:
        torch.testing.assert_close(x, frames[None])
    (before,) = batch.state
    assert before.shape == batch.x.shape == batch.weight.shape == (3, 1, 5, N // 2)
    assert not before.any()
    assert (batch.weight == 1).all()
    torch.testing.assert_close(batch.cond, recordings.pair(0, 0, 0)[1].expand(3, 1, 88, N // 2))


def test_an_epoch_has_every_block_once(recorded):
    lengths = (4 * N, 4 * N + 9, 3 * N - 1)
    parts = [segment(i, n, seed=i) for i, n in enumerate(lengths)]
    scale = FrameScale(np.ones((5, N // 2), np.float32))
    train = dataclasses.replace(TRAIN, batch_size=1)
    data, frames = FrameExamples(recorded(*parts), scale, train), Frames(N)
    assert data.steps(1) == 4 + 3 + 1
    places = []
    for x in [data.draw(step).x[0, 0] for step in range(8)]:
        for number, part in enumerate(parts):
            blocks = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(part.audio, N).copy())
            hits = (frames.analyse(blocks) - x).abs().amax((1, 2)) < 1e-4
            places += [(number, begin) for begin in hits.nonzero()[:, 0].tolist()]
    assert len(places) == 8
    begins = [sorted(begin for number, begin in places if number == i) for i in range(3)]
    assert begins[0] == [0, N, 2 * N, 3 * N]
    assert begins[1] == [begins[1][0] + i * N for i in range(3)]
    assert N <= begins[1][0] <= N + 9


def test_the_seed_and_the_step_decide_the_draw(examples):
    data, other = examples(batch_size=8), examples(batch_size=8, seed=1)
    assert torch.equal(data.draw(1).x, data.draw(1).x)
    assert not torch.equal(data.draw(1).x, data.draw(0).x)
    assert not torch.equal(data.draw(1).x, other.draw(1).x)
    whole, halves = data.draw(2), [data.draw(2, part) for part in (slice(3), slice(3, None))]
    for name in ("cond", "x", "weight"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name))
    assert torch.equal(data.fixed(4).x, data.fixed(4).x)


def test_the_error_is_relative_to_the_energy(examples):
    data = examples()
    batch = data.draw(0)
    assert data.error_db(torch.zeros_like(batch.x), batch) == pytest.approx(0, abs=1e-4)
    assert data.error_db(1.1 * batch.x, batch) == pytest.approx(-20, abs=1e-3)
    assert data.error_db(3 * batch.x, batch) == pytest.approx(6.0206, abs=1e-3)
    assert data.error_db(batch.x, batch) < -60


@pytest.mark.parametrize(("epochs", "batch", "steps"), [(1, 4, 2), (2, 4, 4), (1, 100, 1), (3, 1, 21)])
def test_epochs_are_steps_that_see_every_block(examples, epochs, batch, steps):
    assert examples(batch_size=batch).steps(epochs) == steps  # 4 blocks, and 3


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(examples):
    """Also with dropout, whose random numbers belong to their step."""

    def make_trainer(weights=0):
        torch.manual_seed(weights)
        network = Unet(8).new_denoiser(N // 2, 88)
        return Trainer(network, examples(), examples(7), TRAIN, Diffusion("velocity", 0.9, [0.5]))

    whole = make_trainer()
    torch.manual_seed(1)
    rows = list(whole.steps())
    first = make_trainer()
    torch.manual_seed(2)
    early = list(islice(first.steps(), 2))
    tensors, progress = first.tensors(), json.loads(json.dumps(asdict(first.progress)))
    resumed = make_trainer(weights=99)
    resumed.restore(tensors, progress)
    assert [*early, *resumed.steps()] == rows
    found, expected = resumed.tensors(), whole.tensors()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert resumed.progress == whole.progress
    assert DROPOUT == 0.1
    assert isinstance(whole.denoiser.middle.attention.dropout, Dropout)
