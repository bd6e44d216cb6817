"""Shards and features as users of webdataset read them: with its own loader, and from a web server."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import webdataset
from support.range_server import serving
from torch.utils.data import DataLoader

from diffsynth.errors import UserError
from diffsynth.runs.files import read_json
from diffsynth.shards import places
from diffsynth.shards.folders import ShardFolder
from diffsynth.shards.segments import events_array, read_shards
from diffsynth.synthesis.weights import load_voice

PAGE = Path(__file__).parents[2] / "docs" / "shards.md"


@pytest.fixture(scope="module")
def data(project, tmp_path_factory):
    """Shards and features under a path that is a plain URL too."""
    folder = tmp_path_factory.mktemp("plain")
    for name in ("shards", "features"):
        (folder / name).symlink_to(project.data / name)
    return folder


@pytest.fixture(autouse=True)
def fetched(tmp_path, monkeypatch):
    """Where shards from elsewhere are kept."""
    (tmp_path / "fetched").mkdir()
    monkeypatch.setattr(places, "private_folder", lambda: tmp_path / "fetched")
    return tmp_path / "fetched" / "shards"


def urls(folder, split):
    shards = read_json(folder / "index.json")["splits"][split]["shards"]
    return [str(folder / shard["name"]) for shard in shards]


@pytest.mark.parametrize("workers", [0, 2, 4])
def test_every_split_is_read_by_any_number_of_workers(data, workers):
    found = {}
    for split in ("train", "validation", "test"):
        names = urls(data / "shards", split)
        dataset = webdataset.WebDataset(names, shardshuffle=False, empty_check=False).decode()
        found[split] = list(DataLoader(dataset, batch_size=None, num_workers=workers))
    index = read_json(data / "shards" / "index.json")["splits"]
    for split, samples in found.items():
        assert len(samples) == index[split]["samples"]
        segments = {f"{s.name}-{s.index:05d}": s for s in read_shards(data / "shards", split)}
        assert {sample["__key__"] for sample in samples} == set(segments)
        for sample in samples:
            segment = segments[sample["__key__"]]
            np.testing.assert_array_equal(np.asarray(sample["events.npy"]), events_array(segment.events))
            audio, rate = soundfile.read(io.BytesIO(sample["flac"]), dtype="float32")
            np.testing.assert_array_equal(audio, segment.audio)
            assert (rate, sample["json"]["seconds"]) == (24000, segment.seconds)
        pieces = [p for shard in index[split]["shards"] for p in shard["pieces"]]
        assert sum(p["length"] for p in pieces) == sum(round(s["json"]["seconds"] * 24000) for s in samples)


def test_the_examples_of_the_page_run(data, monkeypatch, capsys):
    monkeypatch.chdir(data)
    (data / "data").symlink_to(data)
    examples = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, PAGE.name, "exec"), {"__name__": "__main__"})
    index = read_json(data / "shards" / "index.json")["splits"]["train"]["samples"]
    assert capsys.readouterr().out.splitlines() == [
        f"{index} segments, {4 * index} s",
        "torch.Size([2, 187, 209]) torch.Size([2, 187, 5, 20])",
    ]


def server_of(folder):
    return serving({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})


def test_shards_of_a_server_are_fetched_once_and_are_those_of_the_folder(data, fetched, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    expected = list(read_shards(data / "shards", "train"))
    with server_of(data / "shards") as server:
        for _ in range(2):
            found = list(read_shards(server.url.rstrip("/"), "train"))
            assert [s.name for s in found] == [s.name for s in expected]
            assert all((a.audio == b.audio).all() for a, b in zip(found, expected, strict=True))
        asked = [request.path for request in server.requests]
        names = [shard["name"] for shard in ShardFolder(data / "shards", "train").shards]
        assert sorted(path for path in asked if path.endswith(".tar")) == sorted(names)
        monkeypatch.setattr(places, "ROOM", 0)
        list(read_shards(server.url, "validation"))
        assert len(list(fetched.glob("*.tar"))) == 1


def test_a_pipe_is_a_folder_too(data):
    expected = [s.name for s in read_shards(data / "shards", "test")]
    assert [s.name for s in read_shards(f"pipe:cat {data}/shards", "test")] == expected


def test_what_a_server_lacks_or_damages_is_one_line(data, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with server_of(data / "shards") as server:
        shard = ShardFolder(data / "shards", "test").shards[0]
        server.files[shard["name"]] = server.files[shard["name"]][:-100]
        with pytest.raises(
            UserError, match=rf"{shard['name']} is damaged: its SHA-256 is not {shard['sha256']}"
        ):
            list(read_shards(server.url, "test"))
        del server.files[shard["name"]]
        with pytest.raises(
            UserError, match=rf"{shard['name']} cannot be read: its reader ended with code 22"
        ):
            list(read_shards(server.url, "test"))
        del server.files["index.json"]
        with pytest.raises(UserError, match=r"index\.json cannot be read") as error:
            list(read_shards(server.url, "test"))
        assert "\n" not in str(error.value)


def test_training_from_a_server_gives_the_weights_of_the_folder(project, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    folders = [project.data / name for name in ("shards", "features", "fit")]
    files = {
        f"{folder.name}/{path.name}": path.read_bytes() for folder in folders for path in folder.iterdir()
    }
    options = ["train", "--model", "lstm", "--block", 1024, "--steps", 2, "--data-dir"]
    with serving(files) as server:
        assert project.run(*options, server.url, "--model-save-dir", "far", folder=tmp_path) == 0
    assert project.run(*options, project.data, "--model-save-dir", "near", folder=tmp_path) == 0
    far, near = (load_voice(tmp_path / name / "1024" / "lstm.safetensors") for name in ("far", "near"))
    for (name, one), other in zip(
        far.denoiser.state_dict().items(), near.denoiser.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
