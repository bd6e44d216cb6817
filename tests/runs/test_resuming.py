"""Work that was interrupted, by SIGKILL too, goes on; work that changed is done again."""

import os
import shutil

import pytest
from support.displaced import CONFIG, FORMAT, add
from support.killed_stage import kill

from diffsynth.alignment import performances
from diffsynth.alignment.performances import align_all, align_performance
from diffsynth.datasets.manifest import Manifest, read_manifest, write_manifest
from diffsynth.errors import UserError
from diffsynth.runs import resuming
from diffsynth.runs.files import sha256
from diffsynth.runs.resuming import RECORDS, make_stamp, recall, record, resumable_folder, tidy
from diffsynth.shards import building
from diffsynth.shards.config import Shard
from diffsynth.shards.writing import write_shards

SHARD = Shard(segment=2.0, context=2.0, megabytes=0.05, fewest=3)


def stage(name, folder):
    """Runs align or shard in a folder."""
    if name == "align":
        align_all(folder / "raw", folder / "aligned", FORMAT, CONFIG)
    else:
        write_shards(folder / "aligned", folder / "shards", SHARD)


def kill_stage(name, folder, items):
    """Runs it in a process that is killed."""
    if name == "align":
        arguments = [folder / "raw", folder / "aligned", FORMAT, CONFIG]
        kill(align_all, arguments, performances, folder, items)
    else:
        arguments = [folder / "aligned", folder / "shards", SHARD]
        kill(write_shards, arguments, building, folder, items)


def contents(folder):
    return {path.name: sha256(path) for path in folder.iterdir()}


def states(folder):
    return {path.name: path.stat().st_ino for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Both stages, never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "raw").mkdir()
    offsets = {"a": 0.0, "b": -0.7, "c": 0.4}
    pairs = [add(folder / "raw", name, offset, seconds=6) for name, offset in offsets.items()]
    write_manifest(folder / "raw", Manifest("folder", pairs, []))
    for name in ("align", "shard"):
        stage(name, folder)
    return folder


@pytest.mark.parametrize(("name", "out"), [("align", "aligned"), ("shard", "shards")])
def test_a_killed_stage_goes_on_and_ends_as_if_it_had_not_been(whole, tmp_path, name, out):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / out)  # as DVC does before it runs a stage
    kill_stage(name, tmp_path, 2)
    assert not (tmp_path / out).exists()
    done = states(tmp_path / f".part-{out}")
    assert len(done) >= 2
    stage(name, tmp_path)
    assert contents(tmp_path / out) == contents(whole / out)
    # What was done is the same file, not written again.
    assert done.items() <= states(tmp_path / out).items()
    assert not (tmp_path / f".part-{out}").exists()


def test_what_has_changed_is_done_again(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "aligned")
    kill_stage("align", tmp_path, 2)
    work = tmp_path / ".part-aligned"
    (work / "a.flac").write_bytes(b"damaged")
    os.utime(tmp_path / "raw" / "b.mid", (1, 1))
    (work / "stale").write_text("left by something else")
    before = states(work)
    stage("align", tmp_path)
    after = states(tmp_path / "aligned")
    assert contents(tmp_path / "aligned") == contents(whole / "aligned")
    assert after["b.flac"] != before["b.flac"]


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A copy of the library's code, in which stamps look."""
    shutil.copytree(resuming.LIBRARY, tmp_path / "library", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(resuming, "LIBRARY", tmp_path / "library")
    resuming._digest.cache_clear()
    yield tmp_path / "library"
    resuming._digest.cache_clear()


@pytest.mark.parametrize(
    ("file", "kept"),
    [
        ("training/trainer.py", True),
        ("datasets/registry.py", True),
        ("models/new.py", True),
        ("alignment/matching.py", False),
        ("midi/files.py", False),
        ("alignment/new.py", False),
    ],
)
def test_an_interrupted_align_is_kept_unless_its_own_code_was_edited(whole, library, tmp_path, file, kept):
    (tmp_path / "raw").mkdir()
    performance = read_manifest(whole / "raw").performances[0]
    for name in (performance.midi, performance.audio):
        shutil.copy(whole / "raw" / name, tmp_path / "raw")
    with resumable_folder(tmp_path / "aligned", "index.json") as work:
        align_performance(performance, tmp_path / "raw", work, FORMAT, CONFIG)
        before = states(work)
        with (library / file).open("a") as edited:
            edited.write("# edited\n")
        resuming._digest.cache_clear()  # the next run is another process
        align_performance(performance, tmp_path / "raw", work, FORMAT, CONFIG)
        assert (states(work) == before) == kept
        tidy(work, set())


def test_a_record_holds_for_its_stamp_and_files_alone(tmp_path):
    with resumable_folder(tmp_path / "out", "index.json") as work:
        (work / "x").write_text("content")
        stamp = make_stamp(["midi"], {"limit": 1})
        record(work, "item", stamp, {"answer": 42}, ["x"])
        assert recall(work, "item", stamp) == {"answer": 42}
        assert recall(work, "item", make_stamp(["midi"], {"limit": 2})) is None
        assert recall(work, "other", stamp) is None
        (work / "x").write_text("changed")
        assert recall(work, "item", stamp) is None
        (work / RECORDS / "item.json").write_text("[1]")
        assert recall(work, "item", stamp) is None
        tidy(work, {"x"})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x"]


def test_interruption_keeps_the_work_and_wrong_input_does_not(tmp_path):
    for error, kept in ((KeyboardInterrupt, True), (OSError, True), (UserError, False)):
        with pytest.raises(error), resumable_folder(tmp_path / "out", "index.json") as work:
            raise error("no")
        assert work.exists() == kept
        assert not (tmp_path / "out").exists()


def test_two_processes_do_not_write_one_output(tmp_path):
    with resumable_folder(tmp_path / "out", "index.json") as work:
        with (
            pytest.raises(UserError, match="out is being written by another process"),
            resumable_folder(tmp_path / "out", "index.json"),
        ):
            pass
        tidy(work, set())
    assert (tmp_path / "out").is_dir()
