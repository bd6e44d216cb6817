"""The download of MAESTRO killed, at a bad server, and on a full disk."""

import dataclasses
import json
import os
import re
import resource
import signal
import subprocess
import sys

import pytest
from support.range_server import serving
from support.small_maestro import (
    ARCHIVE,
    FOLDER,
    LIST,
    ROOT,
    assert_brought,
    compressed,
    dataset,
    fetch,
    listing,
    members,
    of_years,
    rows,
    served,
)

from diffsynth.datasets.maestro.partial_files import Depot
from diffsynth.errors import UserError

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


def large(request):
    return request.path == ARCHIVE and request.stop - request.start > LARGE


# killed

CLIENT = """
import json, sys
from pathlib import Path
from diffsynth.datasets.source import Means
from diffsynth.datasets.sources.maestro import Maestro
if __name__ == "__main__":
    Maestro(**json.loads(sys.argv[1])).bring(Path(sys.argv[2]), Means(progress=False))
"""


def start(server, out, prelude="", **changes):
    """The download as a process of its own."""
    asked = dataclasses.asdict(dataset(server, **changes))
    command = [sys.executable, "-c", prelude + CLIENT, json.dumps(asked), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


KILLS = 3  # benchmarks/download.py kills more often, and at random moments


def test_killed_again_and_again_it_ends_with_every_byte_sent_about_once(server, contents, files, tmp_path):
    """The server kills its client whenever another fifth of the archive's bytes has been sent."""
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

    def replace(request):
        """With half of an answer missing, something is left to be asked for, whatever else is under way."""
        if large(request) and not done:
            done.append(True)
            server.replace(ARCHIVE, served(other)[ARCHIVE])
            return "drop"
        return None

    said = []
    if when == "at once":
        server.fault = replace
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
import shutil
from pathlib import Path
from diffsynth.datasets.maestro.fetch import fetch_maestro
from diffsynth.datasets.source import Means
if {lie}:
    # As if something else filled the disk after it was looked at.
    shutil.disk_usage = lambda path: type("", (), dict(free=10**12))
try:
    fetch_maestro({url!r}, [2018], Path({out!r}), Means(progress=False))
finally:
    print(sorted(path.name for path in Path({out!r}).parent.iterdir()))
"""


@pytest.mark.parametrize("lie", [False, True], ids=["foreseen", "unforeseen"])
def test_a_full_disk_is_told_before_or_when_it_happens(server, tmp_path, lie):
    disk = tmp_path / "disk"
    values = {"url": server.url, "out": str(disk / "raw"), "lie": lie}
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
