"""Archives of all kinds at a real server, whole and with flipped bits."""

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.range_server import serving, zip_bytes

from diffsynth.datasets.maestro.http_ranges import Patience, Remote
from diffsynth.datasets.maestro.remote_zip import DamagedError, contents, find_data, list_members, read_member
from diffsynth.errors import UserError


@pytest.fixture(scope="module")
def server():
    with serving({"a.zip": b""}) as running:
        yield running


def opened(server, archive):
    server.replace("a.zip", archive)
    remote = Remote(f"{server.url}a.zip", Patience(first=0.001))
    return remote, remote.stamp()


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"), min_size=1, max_size=20
)
files = st.dictionaries(
    names.filter(lambda name: not name.endswith("/")),
    st.tuples(
        st.binary(max_size=3000) | st.integers(0, 5000).map(bytes),
        st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(files=files, zip64=st.booleans(), comment=st.binary(max_size=9000), front=st.binary(max_size=50))
def test_every_archive_is_listed_and_read_as_it_was_written(server, files, zip64, comment, front):
    # Something in front of the archive shifts every offset, which the list does not say.
    archive = (b"" if zip64 else front) + zip_bytes(files, zip64=zip64, comment=comment)
    remote, stamp = opened(server, archive)
    members = list_members(remote, stamp)
    assert {name: (member.size, member.method) for name, member in members.items()} == {
        name: (len(content), method) for name, (content, method) in files.items()
    }
    for name, (content, _) in files.items():
        assert read_member(remote, stamp, members[name]) == content


def test_zip64_records_are_really_there_and_only_what_is_needed_is_fetched(server):
    noise = bytes(i * i % 251 for i in range(300_000))
    files = {f"folder/{i}": (noise[i:], zipfile.ZIP_STORED) for i in range(3)}
    archive = zip_bytes(files)
    assert b"PK\x06\x06" in archive
    assert b"PK\x06\x07" in archive
    server.sent.clear()
    remote, stamp = opened(server, archive)
    members = list_members(remote, stamp)
    assert list(members) == list(files)
    assert read_member(remote, stamp, members["folder/1"]) == noise[1:]
    assert server.sent["a.zip"] < len(noise) + 5000


@pytest.fixture(scope="module")
def small():
    noise = bytes(i * i % 251 for i in range(60))
    return {"a": (noise, zipfile.ZIP_STORED), "deep/b.wav": (noise * 3, zipfile.ZIP_DEFLATED)}


@pytest.mark.parametrize("zip64", [False, True])
def test_no_flipped_bit_goes_unnoticed(server, small, zip64):
    archive = zip_bytes(small, zip64=zip64)
    for position in range(0, len(archive), 5):
        flipped = bytearray(archive)
        flipped[position] ^= 1 << position % 8
        remote, stamp = opened(server, bytes(flipped))
        try:
            members = list_members(remote, stamp)
        except DamagedError:
            continue
        for name in set(small) & set(members):  # a name that is not listed any more is missed by the caller
            try:
                content = read_member(remote, stamp, members[name])
            except (DamagedError, UserError):
                continue
            assert content == small[name][0]


@pytest.mark.parametrize("archive", [b"PK", b"no archive at all" * 500, b"PK\x05\x06" + bytes(17)])
def test_what_is_no_archive(server, archive):
    remote, stamp = opened(server, archive)
    with pytest.raises(DamagedError, match="is not a readable ZIP archive"):
        list_members(remote, stamp)


def test_an_empty_file_is_named(server):
    with pytest.raises(UserError, match=r"a\.zip is empty"):
        opened(server, b"")


def test_a_truncated_archive(server, small):
    remote, stamp = opened(server, zip_bytes(small)[:-30])
    with pytest.raises(DamagedError):
        list_members(remote, stamp)


def test_an_unknown_method_is_named(server, small):
    remote, stamp = opened(server, zip_bytes({"a": (b"abc", zipfile.ZIP_LZMA)}))
    with pytest.raises(DamagedError, match=r"says what cannot be about a$"):
        list_members(remote, stamp)


def test_a_small_file_that_inflates_to_much_is_read_in_pieces(server):
    zeros = bytes(30_000_000)
    remote, stamp = opened(server, zip_bytes({"a": (zeros, zipfile.ZIP_DEFLATED)}))
    member = list_members(remote, stamp)["a"]
    start = find_data(remote, stamp, member)
    data = remote.read(start, start + member.compressed, stamp)
    assert len(data) < 100_000
    blocks = [len(block) for block in contents(io.BytesIO(data), member)]
    assert sum(blocks) == len(zeros)
    assert max(blocks) <= 1 << 20
