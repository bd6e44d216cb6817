"""Stages on a real Dask scheduler with two workers on loopback: the same bytes as in one process here."""

import shutil

import pytest
from support import dask_cluster as jobs
from support.dask_cluster import dask_cluster

from diffsynth.errors import UserError
from diffsynth.runs.cluster import on_cluster
from diffsynth.runs.files import sha256
from diffsynth.runs.parallel import parallel_map
from diffsynth.runs.resuming import LIBRARY

pytest.importorskip("distributed")


def contents(folder):
    return {path.name: sha256(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def folder(project, tmp_path_factory):
    """A copy of the project, as if on a file system that all machines share."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(project.folder, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def address(folder, tmp_path_factory):
    with dask_cluster(folder, tmp_path_factory.mktemp("log")) as address:
        yield address


def test_a_stage_on_a_cluster_writes_the_same_bytes(project, folder, address, monkeypatch):
    shutil.rmtree(folder / "data" / "shards")
    monkeypatch.setenv("DIFFSYNTH_CLUSTER", address)
    assert project.run("shard", folder=folder) == 0
    assert contents(folder / "data" / "shards") == contents(project.data / "shards")


def test_jobs_run_on_all_workers_in_order(folder, address, monkeypatch):
    monkeypatch.chdir(folder)
    with on_cluster(address):
        assert list(parallel_map(abs, range(-50, 0), 1, "", progress=False)) == list(range(50, 0, -1))
        assert len(set(parallel_map(jobs.place, range(20), 1, "", progress=False))) == 2


def test_what_is_wrong_with_an_item_comes_back_as_it_is(folder, address, monkeypatch):
    monkeypatch.chdir(folder)
    with on_cluster(address), pytest.raises(UserError, match=r"^shard 3 is damaged$"):
        list(parallel_map(jobs.refuse, [3, 3], 1, "", progress=False))


def unknown(number):
    """A job of a module that workers do not find."""
    return number


def test_what_workers_cannot_do_is_not_waited_for(folder, address, monkeypatch):
    monkeypatch.chdir(folder)
    with on_cluster(address), pytest.raises(RuntimeError, match="deserialization"):
        list(parallel_map(unknown, range(3), 1, "", progress=False))


def test_a_job_that_kills_its_workers_is_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    with (
        dask_cluster(folder, tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as address,
        pytest.raises(UserError, match=r"^workers of tcp://.* were lost: "),
        on_cluster(address),
    ):
        list(parallel_map(jobs.die, [1], 1, "", progress=False))


def test_workers_elsewhere_are_refused(address, refuse):
    assert "stands in another folder: start it in " in refuse("download", "--cluster", address)


def test_workers_with_other_code_are_refused(folder, tmp_path, monkeypatch):
    shutil.copytree(LIBRARY, tmp_path / "diffsynth", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "diffsynth" / "errors.py").open("a") as file:
        file.write("# another version\n")
    monkeypatch.chdir(folder)
    with (
        dask_cluster(folder, tmp_path, workers=1, path=tmp_path) as address,
        pytest.raises(UserError, match="runs other code of diffsynth than this command"),
        on_cluster(address),
    ):
        pass


def test_a_scheduler_that_is_not_there_is_one_line(refuse):
    assert refuse("download", "--cluster", "tcp://127.0.0.1:9").startswith(
        "there is no Dask scheduler at tcp://127.0.0.1:9: "
    )
    assert refuse("download", "--cluster", "here").startswith("there is no Dask scheduler at here: ")


def test_a_scheduler_without_workers_is_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    with (
        dask_cluster(folder, tmp_path, workers=0) as address,
        pytest.raises(UserError, match="has no workers: start some with `dask worker`"),
        on_cluster(address),
    ):
        pass
