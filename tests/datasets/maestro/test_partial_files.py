"""What of a member survives which end of the process."""

import json
import zipfile

import numpy as np
import pytest
from support.range_server import serving, zip_bytes

import diffsynth.datasets.maestro.partial_files
from diffsynth.datasets.maestro.http_ranges import Patience, Remote, Stamp
from diffsynth.datasets.maestro.partial_files import SYNC, Depot, PartialMember, fetch_member
from diffsynth.datasets.maestro.remote_zip import DamagedError, Member, list_members
from diffsynth.errors import UserError

CONTENT = np.random.default_rng(0).integers(0, 100, 200_000, np.uint8).tobytes()
MEMBER = Member("folder/a.wav", 0, zipfile.ZIP_STORED, 0, 1000, 1000)
STAMP = Stamp(5000, '"v1"')


@pytest.fixture(params=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def server(request):
    with serving({"a.zip": zip_bytes({"folder/a.wav": (CONTENT, request.param)})}) as running:
        yield running


def fetch(server, depot, chunk=10_000):
    """Fetches the member; the compressed bytes that were announced, one by one."""
    remote, advanced = Remote(f"{server.url}a.zip", Patience(first=0.001, tries=3)), []
    stamp = remote.stamp()
    (member,) = list_members(remote, stamp).values()
    server.sent.clear()
    fetch_member(remote, stamp, member, depot, chunk, advanced.append)
    assert depot.has(member)
    assert depot.file(member.name).read_bytes() == CONTENT
    return member, sum(advanced)


def test_a_member_is_complete_or_a_part(server, tmp_path):
    depot = Depot(tmp_path / "out")
    member, advanced = fetch(server, depot)
    assert advanced == member.compressed == depot.arrived(member)
    assert [path.name for path in depot.root.rglob("*") if path.is_file()] == ["a.wav"]


def test_it_goes_on_inside_a_member(server, tmp_path):
    depot = Depot(tmp_path / "out")
    server.fault = lambda request: 500 if request.number >= 8 else None
    with pytest.raises(UserError, match="500"):
        fetch(server, depot)
    part = depot.part("folder/a.wav")
    there = part.stat().st_size
    assert there > 0
    assert not depot.file("folder/a.wav").exists()
    server.fault = lambda request: None
    member, advanced = fetch(server, depot)
    assert advanced == member.compressed - there
    assert server.sent["a.zip"] == member.compressed - there


@pytest.mark.parametrize("times", [1, 2])
def test_flipped_bytes_are_fetched_again(server, tmp_path, times):
    flips = iter([True] * times)
    server.fault = lambda request: (
        "flip" if request.stop - request.start > 5000 and next(flips, None) else None
    )
    member, advanced = fetch(server, Depot(tmp_path / "out"))
    assert advanced == member.compressed
    assert server.sent["a.zip"] <= (times + 1) * (member.compressed + 100)


def test_bytes_that_always_arrive_flipped_never_get_the_final_name(server, tmp_path):
    server.fault = lambda request: "flip" if request.stop - request.start > 5000 else None
    depot = Depot(tmp_path / "out")
    with pytest.raises(DamagedError, match=r"folder/a\.wav arrived damaged"):
        fetch(server, depot)
    assert not depot.file("folder/a.wav").exists()
    assert not depot.part("folder/a.wav").exists()


def write(depot, *blocks, member=MEMBER, stamp=STAMP):
    part = PartialMember(depot.part(member.name), stamp, member)
    if part.start is None:
        part.begin(77)
    for block in blocks:
        part.append(block)
    part.close()


def resumed(depot, member=MEMBER, stamp=STAMP):
    part = PartialMember(depot.part(member.name), stamp, member)
    part.close()
    return part.start, part.position


def test_a_part_is_taken_up_where_it_was_left(tmp_path):
    depot = Depot(tmp_path / "out")
    write(depot, b"x" * 100, b"y" * 23)
    assert resumed(depot) == (77, 123)
    write(depot, b"z")
    assert depot.part(MEMBER.name).read_bytes() == b"x" * 100 + b"y" * 23 + b"z"


def test_a_part_of_something_else_is_begun_anew(tmp_path):
    for member, stamp in (
        (Member("folder/a.wav", 0, 0, 1, 1000, 1000), STAMP),
        (MEMBER, Stamp(5000, '"v2"')),
        (MEMBER, Stamp(5001, '"v1"')),
    ):
        depot = Depot(tmp_path / "out")
        write(depot, b"x" * 100)
        assert resumed(depot, member, stamp) == (None, 0)
        assert depot.part(MEMBER.name).stat().st_size == 0


@pytest.mark.parametrize("journal", ["", "{", "[]", "missing"])
def test_a_part_without_its_journal_is_begun_anew(tmp_path, journal):
    depot = Depot(tmp_path / "out")
    write(depot, b"x" * 100)
    path = depot.part(f"{MEMBER.name}.json")
    path.unlink() if journal == "missing" else path.write_text(journal)
    assert resumed(depot) == (None, 0)


def test_after_a_crash_of_the_machine_only_what_was_synced_counts(tmp_path, monkeypatch):
    big = Member("folder/a.wav", 0, 0, 0, 3 * SYNC, 3 * SYNC)
    depot = Depot(tmp_path / "out")
    write(depot, bytes(SYNC - 10), bytes(20), bytes(500), member=big)
    assert json.loads(depot.part("folder/a.wav.json").read_text())["synced"] == SYNC + 10
    assert resumed(depot, big) == (77, SYNC + 510)
    (tmp_path / "boot").write_text("another start of the machine\n")
    monkeypatch.setattr(diffsynth.datasets.maestro.partial_files, "_BOOT", tmp_path / "boot")
    assert resumed(depot, big) == (77, SYNC + 10)
    write(depot, bytes(5), member=big)
    monkeypatch.setattr(
        diffsynth.datasets.maestro.partial_files, "_BOOT", tmp_path / "nothing"
    )  # a system that does not say
    assert resumed(depot, big) == (77, SYNC + 10)


def test_one_process_at_a_time(tmp_path):
    with (
        Depot(tmp_path / "out").locked(),
        pytest.raises(UserError, match=r"another download into .*download-out is under way"),
        Depot(tmp_path / "out").locked(),
    ):
        raise AssertionError("the body must not run")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot write .*download-out: Not a directory"),
        Depot(tmp_path / "file" / "out").locked(),
    ):
        raise AssertionError("the body must not run")
