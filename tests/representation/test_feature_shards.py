"""Folders of features: a full disk or a kill costs nothing that was done; few files are open at a time."""

import os
from pathlib import Path

import numpy as np
import pytest
from support.feature_folders import Arrays
from support.killed_stage import kill
from support.own_process import python

from diffsynth.representation.config import Features
from diffsynth.representation.feature_shards import write_features
from diffsynth.runs.files import sha256
from diffsynth.runs.threads import threads
from diffsynth.shards import building, folders
from diffsynth.shards.folders import read_index
from pipeline.params import load_params

LIMITED = """
import resource
from pathlib import Path
from diffsynth.representation.feature_shards import write_features
from pipeline.params import load_params
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
params, data = load_params({params!r}), Path({data!r})
inputs = data / "shards", data / "fit/piano.safetensors", Path("features")
write_features(*inputs, params.audio, params.features)
"""


THREE = Features(3, 0, highest=5000.0, knee=700.0, window=1024, floor=-80.0, hop=1, ages=[1.0])


def contents(folder):
    return {path.name: sha256(path) for path in folder.iterdir()}


def test_a_full_disk_costs_nothing_that_was_done(project, tmp_path):
    params, data = project.folder / "params.yaml", project.data
    shards = read_index(data / "features")["splits"]
    sizes = {shard["name"]: shard["bytes"] for split in shards.values() for shard in split["shards"]}
    limit = max(sizes.values()) - 1
    names = list(sizes)
    finished = names[: next(i for i, name in enumerate(names) if sizes[name] > limit)]
    assert finished
    code = LIMITED.format(params=str(params), data=str(data), limit=limit)
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    output = python(code, tmp_path, **one_thread)
    assert output.rstrip().endswith("OSError: [Errno 27] File too large")
    assert not (tmp_path / "features").exists()
    work = tmp_path / ".part-features"
    tars = {path.name: path.stat().st_ino for path in work.glob("[a-z]*.tar")}
    assert sorted(tars) == finished
    read = load_params(params)
    piano = data / "fit" / "piano.safetensors"
    write_features(data / "shards", piano, tmp_path / "features", read.audio, read.features)
    assert all((tmp_path / "features" / name).stat().st_ino == inode for name, inode in tars.items())
    assert contents(tmp_path / "features") == contents(data / "features")
    assert not work.exists()


def test_a_killed_stage_goes_on_and_ends_as_if_it_had_not_been(project, tmp_path):
    params, out = load_params(project.folder / "params.yaml"), tmp_path / "features"
    inputs = [project.data / "shards", project.data / "fit" / "piano.safetensors", out]
    arguments = [*inputs, params.audio, params.features]
    kill(write_features, arguments, building, tmp_path, items=2)
    assert not out.exists()
    tars = {path.name: path.stat().st_ino for path in (tmp_path / ".part-features").glob("[a-z]*.tar")}
    assert len(tars) == 2
    write_features(*arguments)
    assert all((out / name).stat().st_ino == inode for name, inode in tars.items())
    assert contents(out) == contents(project.data / "features")


@pytest.mark.parametrize("count", [1, 2])
def test_the_number_of_threads_changes_nothing(project, tmp_path, count):
    params = load_params(project.folder / "params.yaml")
    inputs = project.data / "shards", project.data / "fit" / "piano.safetensors", tmp_path / "features"
    with threads(count):
        write_features(*inputs, params.audio, params.features)
    assert contents(tmp_path / "features") == contents(project.data / "features")


def test_few_shards_are_open_however_many_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "HELD", 3)
    values = np.arange(20 * 4 * 2, dtype=np.float16).reshape(20, 4, 2)
    data = Arrays(values, np.zeros((20, 4, 2, 3), np.float16)).opened(THREE, per_shard=1)
    place = str(data._shards.folder)
    for shard in [*range(20), 0, 7, 19]:
        np.testing.assert_array_equal(data.read(shard, 0, slice(1, 3))[0], values[shard, 1:3])
        links = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        assert sum(link.startswith(place) for link in links) <= 3
