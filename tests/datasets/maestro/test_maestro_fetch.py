"""The years of MAESTRO out of the archive of a real server: what comes, what need not, what is refused."""

import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from support.range_server import serving
from support.small_maestro import (
    ARCHIVE,
    FOLDER,
    LIST,
    QUICK,
    ROOT,
    TABLE,
    assert_brought,
    compressed,
    fetch,
    members,
    of_years,
    rows,
    served,
)

from diffsynth.datasets.maestro.fetch import plan_maestro
from diffsynth.datasets.maestro.partial_files import Depot
from diffsynth.datasets.source import Means
from diffsynth.errors import UserError
from pipeline.app import run
from pipeline.cached import CACHE, cached_output


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    return members(tmp_path_factory.mktemp("members"))


@pytest.fixture(scope="module")
def files(contents):
    return served(contents)


@pytest.fixture
def server(files):
    with serving(files) as running:
        yield running


# what comes


def test_only_the_wanted_years_cross_the_wire_and_keep_their_paths(server, contents, files, tmp_path):
    manifest = fetch(server, tmp_path / "raw")
    expected = of_years(contents, 2018)
    assert len(expected) == 3 + 2 * 4
    assert_brought(tmp_path / "raw", expected)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]  # nothing is left beside it
    wanted = sum(compressed(files, name) for name in expected if name != f"{FOLDER}/{LIST}")
    directory = files[ARCHIVE][files[ARCHIVE].index(b"PK\x01\x02") :]
    headers = 200 * len(expected)
    assert server.sent[LIST] == len(TABLE.encode())
    assert wanted < server.sent[ARCHIVE] < wanted + len(directory) + 4096 + headers
    assert manifest.dataset == "maestro"
    assert {p.title: p.split for p in manifest.performances} == {
        'Alexander Scriabin: Sonata No. 9, Op. 68, "Black Mass"': "test",
        "Alexander Scriabin: Sonata No. 2 in G-sharp Minor, Op. 19": "train",
        "Claude Debussy: L'isle joyeuse, L. 106": "train",
        "Johannes Brahms: Intermezzos Op. 119": "validation",
    }
    assert sorted(p.duration for p in manifest.performances) == pytest.approx([1.0, 1.3, 1.6, 1.9], abs=1e-4)


@pytest.mark.parametrize("years", ["all", [2014, 2017]])
def test_any_years(server, contents, tmp_path, years):
    fetch(server, tmp_path / "raw", years=years)
    wanted = (2014, 2017, 2018) if years == "all" else years
    assert_brought(tmp_path / "raw", of_years(contents, *wanted))


def test_an_archive_without_folder_and_table_gets_its_table_beside_the_years(contents, tmp_path):
    bare = {
        name.removeprefix(f"{FOLDER}/"): content
        for name, content in contents.items()
        if not name.endswith((".csv", "LICENSE", "README"))
    }
    with serving({LIST: TABLE.encode(), ARCHIVE: served(bare)[ARCHIVE]}) as server:
        fetch(server, tmp_path / "raw", years="all")
    assert_brought(tmp_path / "raw", {**bare, LIST: TABLE.encode()})


def test_the_licence_is_shown_at_the_first_download_only(server, tmp_path):
    said = []
    for _ in range(2):
        fetch(server, tmp_path / "raw", say=said.append)
    assert len(said) == 1
    assert "CC BY-NC-SA 4.0" in said[0]


# what need not come again


def test_a_second_year_comes_alone(server, contents, files, tmp_path):
    fetch(server, tmp_path / "raw")
    server.sent.clear()
    fetch(server, tmp_path / "raw", years=[2018, 2014])
    expected = of_years(contents, 2018, 2014)
    assert_brought(tmp_path / "raw", expected)
    new = sum(compressed(files, f"{FOLDER}/{path}") for path in rows()[6])
    assert new < server.sent[ARCHIVE] < new + 8000


def test_what_was_changed_in_the_output_is_not_taken_over(server, contents, tmp_path):
    fetch(server, tmp_path / "raw")
    path = tmp_path / "raw" / FOLDER / rows()[0][1]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    fetch(server, tmp_path / "raw")
    assert_brought(tmp_path / "raw", of_years(contents, 2018))


def test_files_that_dvc_has_in_its_cache_come_from_there(server, contents, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = Path("data") / "raw"
    fetch(server, out)
    entries = []
    for number, path in enumerate(sorted(path for path in out.rglob("*") if path.is_file())):
        digest = f"{number:032x}"
        place = CACHE / digest[:2] / digest[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
        entries.append({"md5": digest, "relpath": path.relative_to(out).as_posix()})
    broken, gone = (CACHE / "00" / f"{number:030x}" for number in (1, 2))
    broken.write_bytes(b"?" * broken.stat().st_size)
    gone.unlink()
    (CACHE / "ff").mkdir()
    (CACHE / "ff" / "ff.dir").write_text(json.dumps(entries))
    lock = "stages: {download: {outs: [{path: data/raw, hash: md5, md5: ffff.dir}]}}"
    Path("dvc.lock").write_text(lock)
    shutil.rmtree("data")
    server.sent.clear()
    said = []
    fetch(server, out, said.append, earlier=cached_output("download", out))
    assert said == []
    assert_brought(out, of_years(contents, 2018))
    again = sum(compressed(files, entries[number]["relpath"]) for number in (1, 2))
    assert again < server.sent[ARCHIVE] < again + 8000
    assert all(path.stat().st_nlink == 1 for path in out.rglob("*.wav"))  # DVC's own files are not ours
    assert os.listdir("data") == ["raw"]


@pytest.mark.parametrize(
    "lock", ["missing", "", "[", "stages: {}", "stages: {download: {outs: [{path: a}]}}"]
)
def test_where_dvc_has_nothing(tmp_path, monkeypatch, lock):
    monkeypatch.chdir(tmp_path)
    if lock != "missing":
        Path("dvc.lock").write_text(lock)
    assert cached_output("download", Path("data/raw")) == {}
    Path("dvc.lock").write_text("stages: {download: {outs: [{path: data/raw, md5: abcd.dir}]}}")
    assert cached_output("download", Path("data/raw")) == {}


def test_files_that_change_while_others_arrive_are_fetched_again(server, contents, tmp_path):
    """A disk or somebody else may do that to files that were right when they arrived."""
    depot, audio = Depot(tmp_path / "raw"), f"{FOLDER}/{rows()[0][1]}"
    readme = f"{FOLDER}/README"

    def spoil(path, offset):
        for name in (audio, readme):
            if depot.file(name).exists() and name not in spoiled:
                spoiled.add(name)
                depot.file(name).write_bytes(b"?" * len(contents[name]))

    spoiled, said = set(), []
    server.sending = spoil
    fetch(server, tmp_path / "raw", connections=1, say=said.append)
    assert spoiled == {audio, readme}
    assert_brought(tmp_path / "raw", of_years(contents, 2018))
    assert "was changed after it had arrived: asking for the list again" in said[-1]


# refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"years": [2019]}, "MAESTRO has no year 2019: choose from 2014, 2017, 2018, or all"),
        ({"url": "file:///tmp"}, "dataset.url must start with http"),
        ({"url": "URLother/"}, r"other/maestro-v3\.0\.0\.csv: the server answers 404"),
    ],
)
def test_wrong_input_leaves_nothing(server, tmp_path, changes, message):
    if "url" in changes:
        changes = {"url": changes["url"].replace("URL", server.url)}
    with pytest.raises(UserError, match=message):
        fetch(server, tmp_path / "raw", **changes)
    assert list(tmp_path.iterdir()) == []


def test_the_plan_tells_files_bytes_and_room_and_writes_nothing(server, contents, files, tmp_path):
    out = tmp_path / "raw"
    asked = server.url, [2018], out, Means()
    wanted = sum(compressed(files, name) for name in of_years(contents, 2018))
    first, second, third = plan_maestro(*asked, QUICK)
    assert first == "MAESTRO v3.0.0, 2018: 4 performances, 11 files"
    assert second.startswith("to fetch: ")
    assert f"({wanted} bytes) in 11 files" in second
    assert re.fullmatch(
        r"on disk: 1\.0\dMB in the end; at most 1\.\d\dMB more .* until then, .* are free", third
    )
    assert list(tmp_path.iterdir()) == []
    server.fault = lambda request: 500 if server.sent.get(ARCHIVE, 0) > 500_000 else None
    with suppress(UserError):
        fetch(server, out)
    _, second, _ = plan_maestro(*asked, QUICK)
    left = int(re.search(r"\((\d+) bytes\)", second)[1])
    assert wanted - 600_000 < left < wanted - 400_000


# the command


def test_the_command_brings_a_year(server, contents, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    options = ["--name", "maestro", "--url", server.url, "--out", "here", "--workers", "1"]
    assert run(["download", *options, "--year", "2018", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("MAESTRO v3.0.0, 2018: 4 performances, 11 files\nto fetch: ")
    assert not Path("here").exists()
    assert run(["download", *options, "--year", "2017", "--year", "2014"]) == 0
    shown = capsys.readouterr()
    assert (
        shown.out == "here: maestro, 3 performances, 0.1 min (2 train, 1 validation, 0 test), 0 set aside\n"
    )
    assert "CC BY-NC-SA 4.0" in shown.err
    assert_brought(tmp_path / "here", of_years(contents, 2017, 2014))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--year", "twenty"], "--year takes a year or all, not 'twenty'"),
        (["--year", "1999"], "MAESTRO has no year 1999: choose from 2014, 2017, 2018, or all"),
        (["--root", "nowhere", "--dry-run"], "nowhere is not downloaded, so there is nothing to plan"),
        (["--name", "demo", "--dry-run"], "dataset demo is not downloaded, so there is nothing to plan"),
        (["--root", "nowhere"], "nowhere does not exist"),
    ],
)
def test_the_command_refuses_in_one_line(server, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    assert run(["download", "--name", "maestro", "--url", server.url, "--out", "here", *options]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line == f"diffsynth: {message}"
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
