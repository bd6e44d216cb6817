"""The years of MAESTRO out of the archive of a real server: what comes, what goes on, what is refused."""

import dataclasses
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from range_server import serving
from small_maestro import FOLDER, TABLE, compressed, members, of_years, rows, served

from diffsynth.config import load_params
from diffsynth.data.depot import Depot
from diffsynth.data.maestro_fetch import fetch_maestro, plan_maestro
from diffsynth.data.manifest import read_manifest, verify
from diffsynth.data.remote import Patience
from diffsynth.errors import UserError
from pipeline.app import run
from pipeline.cached import CACHE, cached_output

ROOT = Path(__file__).parents[1]
DATASET = load_params(ROOT / "params.yaml").dataset
ARCHIVE, LIST = f"{FOLDER}.zip", f"{FOLDER}.csv"
QUICK = Patience(first=0.001, timeout=10)
LARGE = 5000  # bytes of a request for contents, not for headers


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


def dataset(server, **changes):
    return dataclasses.replace(DATASET, name="maestro", url=server.url, workers=1, **changes)


def fetch(server, out, say=lambda _: None, **changes):
    return fetch_maestro(dataset(server, **changes), out, None, False, say, QUICK)


def listing(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def assert_brought(out, expected):
    """The folder holds these files and a true manifest, nothing else."""
    assert listing(out) == {*expected, "manifest.json"}
    for name, content in expected.items():
        assert (out / name).read_bytes() == content, name
    verify(out, read_manifest(out))


def large(request):
    return request.path == ARCHIVE and request.stop - request.start > LARGE


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
    fetch_maestro(dataset(server), out, cached_output("download", out), False, said.append, QUICK)
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


# killed

CLIENT = """
import json, sys
from pathlib import Path
from diffsynth.config import Dataset
from diffsynth.data.maestro_fetch import fetch_maestro
if __name__ == "__main__":
    fetch_maestro(Dataset(**json.loads(sys.argv[1])), Path(sys.argv[2]), progress=False)
"""


def start(server, out, prelude="", **changes):
    """The download as a process of its own."""
    asked = dataclasses.asdict(dataset(server, **changes))
    command = [sys.executable, "-c", prelude + CLIENT, json.dumps(asked), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


KILLS = 5  # benchmarks/download.py kills more often, and at random moments


def test_killed_again_and_again_it_ends_with_every_byte_sent_about_once(server, contents, files, tmp_path):
    """The server kills its client whenever another seventh of the archive's bytes has been sent."""
    wanted = sum(compressed(files, name) for name in contents)
    limits = [wanted * i // (KILLS + 2) for i in range(1, KILLS + 1)]
    client = None

    def kill(path, offset):
        if limits and server.sent.get(ARCHIVE, 0) > limits[0]:
            limits.pop(0)
            client.kill()

    server.sending = kill
    for kills in range(KILLS + 1):
        client = start(server, tmp_path / "raw", years="all")
        _, error = client.communicate(timeout=60)
        assert client.returncode == (-signal.SIGKILL if kills < KILLS else 0), error
        assert (tmp_path / "raw").exists() == (kills == KILLS)
    assert_brought(tmp_path / "raw", contents)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    # At so small a size, the smallest request is what bounds the loss: one of every connection and kill.
    assert server.sent[ARCHIVE] < wanted + KILLS * 4 * (65536 + 200) + 10_000


# a bad server


@pytest.mark.parametrize(
    ("fault", "every"), [("drop", 3), ("refuse", 3), (500, 3), ((429, "0"), 3), ("whole", 3), ("flip", 11)]
)
def test_faults_now_and_then_do_no_harm(server, contents, tmp_path, fault, every):
    server.fault = lambda request: fault if request.number % every == 2 else None
    fetch(server, tmp_path / "raw", connections=1)
    assert_brought(tmp_path / "raw", of_years(contents, 2018))


@pytest.mark.parametrize("fault", ["flip", 500])
def test_faults_that_do_not_end_are_told_and_leave_nothing_final(server, contents, tmp_path, fault):
    server.fault = lambda request: fault if large(request) and request.start > 100_000 else None
    message = {"flip": "arrived damaged", 500: "answers 500"}[fault]
    with pytest.raises(UserError, match=f"{message}.*; what has arrived is kept, and the same command"):
        fetch(server, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    depot = Depot(tmp_path / "raw")
    assert all(depot.file(name).read_bytes() == contents[name] for name in listing(depot.file("")))
    server.fault = lambda request: None
    fetch(server, tmp_path / "raw")
    assert_brought(tmp_path / "raw", of_years(contents, 2018))


def test_a_flipped_table_is_replaced_by_the_one_in_the_archive(server, contents, tmp_path):
    server.fault = lambda request: "flip" if request.path == LIST else None
    fetch(server, tmp_path / "raw", years="all")
    assert_brought(tmp_path / "raw", contents)


# Places in an entry of the list of an archive, from its beginning.
FIELDS = {"signature": 1, "flags": 8, "method": 10, "crc": 16, "extra length": 30, "name": 55, "ZIP64": 28}


@pytest.mark.parametrize("field", FIELDS)
def test_a_flipped_bit_in_the_list_of_the_archive_is_noticed(server, contents, files, tmp_path, field):
    audio = rows()[1][1]
    entry = files[ARCHIVE].index(audio.encode(), files[ARCHIVE].index(b"PK\x01\x02")) - 46 - len(FOLDER) - 1
    place = entry + FIELDS[field] + (len(f"{FOLDER}/{audio}") + 20 if field == "ZIP64" else 0)
    flipped = []

    def flip(request):
        if request.path == ARCHIVE and request.start <= place < request.stop and not flipped:
            flipped.append(True)
            return "flip", place
        return None

    server.fault = flip
    manifest = fetch(server, tmp_path / "raw")
    assert flipped
    assert manifest.set_aside == []
    assert_brought(tmp_path / "raw", of_years(contents, 2018))


@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_changed_archive_is_fetched_anew_where_it_differs(server, contents, tmp_path, when):
    midi, audio = (f"{FOLDER}/{path}" for path in rows()[0])
    other = {**contents, audio: contents[audio][:-4] + b"last", midi: contents[rows_midi(1)]}
    done = []

    def replace(path, offset):
        if path == ARCHIVE and not done and server.sent.get(ARCHIVE, 0) > 400_000:
            done.append(True)
            server.replace(ARCHIVE, served(other)[ARCHIVE])

    said = []
    if when == "at once":
        server.sending = replace
        fetch(server, tmp_path / "raw", say=said.append)
        assert "the archive was replaced by another while it was fetched: asking for the list" in said[-1]
    else:
        fetch(server, tmp_path / "raw")
        server.replace(ARCHIVE, served(other)[ARCHIVE])
        fetch(server, tmp_path / "raw", years="all")
    expected = of_years(other, 2018) if when == "at once" else other
    assert_brought(tmp_path / "raw", expected)


def rows_midi(number):
    return f"{FOLDER}/{rows()[number][0]}"


def test_an_archive_that_changes_again_and_again_is_left(server, files, tmp_path):
    def fault(request):
        if large(request):
            server.replace(ARCHIVE, files[ARCHIVE])

    server.fault = fault
    with pytest.raises(UserError, match="replaced by another while it was fetched, 3 times in a row"):
        fetch(server, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_a_server_without_ranges_is_named_and_nothing_is_left(server, tmp_path):
    server.fault = lambda request: "whole"
    with pytest.raises(UserError, match="download the whole archive by hand and give its path as --root"):
        fetch(server, tmp_path / "raw")
    assert list(tmp_path.iterdir()) == []


def test_ranges_that_stop_working_leave_what_has_arrived(server, contents, tmp_path):
    server.fault = lambda request: "whole" if server.sent.get(ARCHIVE, 0) > 300_000 else None
    server.sending = lambda path, offset: None
    with pytest.raises(UserError, match="ignores byte ranges"):
        fetch(server, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    server.fault = lambda request: None
    server.sent.clear()
    fetch(server, tmp_path / "raw")
    assert_brought(tmp_path / "raw", of_years(contents, 2018))
    assert server.sent[ARCHIVE] < 800_000


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
        fetch_maestro(dataclasses.replace(dataset(server), **changes), tmp_path / "raw", patience=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_the_plan_tells_files_bytes_and_room_and_writes_nothing(server, contents, files, tmp_path):
    out = tmp_path / "raw"
    asked = dataset(server)
    wanted = sum(compressed(files, name) for name in of_years(contents, 2018))
    first, second, third = plan_maestro(asked, out, patience=QUICK)
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
    _, second, _ = plan_maestro(asked, out, patience=QUICK)
    left = int(re.search(r"\((\d+) bytes\)", second)[1])
    assert wanted - 600_000 < left < wanted - 400_000


# no room


def test_a_limit_of_the_system_is_told_and_what_has_arrived_is_kept(server, contents, tmp_path):
    prelude = f"import resource; resource.setrlimit({resource.RLIMIT_FSIZE}, (200_000, 200_000))\n"
    client = start(server, tmp_path / "raw", prelude)
    *_, line = client.communicate(timeout=60)[1].splitlines()
    assert client.returncode == 1
    assert "no room left on the disk of" in line
    assert "(File too large); what has arrived is kept" in line
    assert not (tmp_path / "raw").exists()
    fetch(server, tmp_path / "raw")
    assert_brought(tmp_path / "raw", of_years(contents, 2018))


def mounted(folder, size, script):
    """Runs a script in which a small disk is mounted at a folder; skips where that is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    for trial in (True, False):
        inner = "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)\n" + (
            "" if trial else script
        )
        command = ["unshare", "--mount", sys.executable, "-c", inner, *mount]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        except OSError:
            pytest.skip("needs unshare")
        if trial and done.returncode:
            pytest.skip("mounting is not permitted")
    return done


FULL = """
import dataclasses, shutil
from pathlib import Path
from diffsynth.config import load_params
from diffsynth.data.maestro_fetch import fetch_maestro
if {lie}:
    # As if something else filled the disk after it was looked at.
    shutil.disk_usage = lambda path: type("", (), dict(free=10**12))
dataset = dataclasses.replace(load_params({params!r}).dataset, name="maestro", url={url!r}, workers=1)
try:
    fetch_maestro(dataset, Path({out!r}), progress=False)
finally:
    print(sorted(path.name for path in Path({out!r}).parent.iterdir()))
"""


@pytest.mark.parametrize("lie", [False, True], ids=["foreseen", "unforeseen"])
def test_a_full_disk_is_told_before_or_when_it_happens(server, tmp_path, lie):
    disk = tmp_path / "disk"
    values = {"params": str(ROOT / "params.yaml"), "url": server.url, "out": str(disk / "raw"), "lie": lie}
    done = mounted(disk, 800_000, FULL.format(**values))
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    if lie:
        assert "UserError: no room left on the disk of " in line
        assert "(No space left on device); what has arrived is kept" in line
    else:
        assert re.search(r"the disk of .* is too full: 2\.\d+MB more are needed, \d+kB are free", line)
        assert all(not large(request) or request.start > 1e6 for request in server.requests)
    assert done.stdout.splitlines()[-1] == ("['.download-raw']" if lie else "[]")


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
