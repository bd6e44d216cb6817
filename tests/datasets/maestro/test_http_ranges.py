"""Byte ranges from a real server that misbehaves."""

import itertools
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from support.range_server import serving

from diffsynth.datasets.maestro.http_ranges import (
    ChangedError,
    Patience,
    Remote,
    Stamp,
    StoppedError,
    _retry_after,
)
from diffsynth.errors import UserError

CONTENT = bytes(itertools.islice(itertools.cycle(b"abcdefghijklmnopqrstuvw"), 500_001))
QUICK = Patience(first=0.001, timeout=10)


@pytest.fixture
def server():
    with serving({"a": CONTENT}) as running:
        yield running


def remote(server, path="a", patience=QUICK, say=None):
    return Remote(server.url + path, patience, say)


def streamed(source, start=0, stop=500_001, chunk=60_000):
    return b"".join(source.stream(start, stop, source.stamp(), chunk))


def test_a_range_is_asked_for_in_chunks_over_one_connection(server):
    assert streamed(remote(server), 1000, 300_000) == CONTENT[1000:300_000]
    _, *chunks = [(request.start, request.stop) for request in server.requests]
    assert chunks == [(start, min(start + 60_000, 300_000)) for start in range(1000, 300_000, 60_000)]
    assert server.connections == 1
    assert server.sent == {"a": 1 + 299_000}
    assert all(request.headers["If-Range"] == '"v1"' for request in server.requests[1:])


@pytest.mark.parametrize("fault", ["drop", "refuse", 500, 503, 408, (429, "0")])
def test_what_breaks_off_goes_on_from_there(server, fault):
    server.fault = lambda request: fault if request.number % 3 else None
    assert streamed(remote(server)) == CONTENT
    assert server.sent["a"] == len(CONTENT) + 1  # nothing came twice, but the byte of the stamp


def test_a_small_file_is_fetched_whole_in_spite_of_drops(server):
    server.fault = lambda request: "drop" if request.number < 3 else None
    assert remote(server).get() == CONTENT


@pytest.mark.parametrize(("fault", "message"), [(500, "answers 500"), ("refuse", "broke off")])
def test_it_gives_up_after_as_many_tries_as_it_has_patience(server, fault, message):
    source = remote(server, patience=Patience(contact=2, tries=4, first=0.001))
    stamp = source.stamp()
    server.fault = lambda request: fault
    with pytest.raises(UserError, match=message):
        source.read(0, 9, stamp)
    assert len(server.requests) == 1 + 4
    with pytest.raises(UserError, match=message):
        source.stamp()
    assert len(server.requests) == 1 + 4 + 2


def test_a_byte_more_is_progress_and_the_tries_count_anew(server):
    source = remote(server, patience=Patience(tries=2, first=0.001))
    server.fault = lambda request: "drop" if request.number % 2 else 500 if request.number else None
    assert streamed(source, 0, 400_000, 400_000) == CONTENT[:400_000]


def test_the_pause_that_a_server_asks_for_is_kept(server):
    server.fault = lambda request: (429, "1") if request.number == 1 else None
    source = remote(server)
    stamp = source.stamp()
    start = time.monotonic()
    assert source.read(5, 9, stamp) == CONTENT[5:9]
    assert time.monotonic() - start >= 1


def test_too_long_a_pause_is_told_instead_of_kept(server):
    server.fault = lambda request: (503, "4000")
    with pytest.raises(UserError, match=r"answers 503 .*, and asks to come back in 4000 s"):
        remote(server).stamp()
    assert len(server.requests) == 1


def test_a_long_wait_is_announced_and_can_be_stopped(server):
    server.fault = lambda request: (429, "300")
    source = None

    def say(line):
        said.append(line)
        source.stop()

    said, source = [], remote(server, say=lambda line: say(line))
    with pytest.raises(StoppedError):
        source.stamp()
    assert said == ["waiting 300 s: the server answers 429 Too Many Requests"]


def test_retry_after_is_a_number_or_a_date():
    assert _retry_after("17") == 17
    assert _retry_after("") is None
    assert _retry_after("soon") is None
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert 60 < _retry_after(format_datetime(later, usegmt=True)) <= 90
    assert _retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_a_server_without_ranges_is_named_with_what_to_do(server):
    server.fault = lambda request: "whole"
    with pytest.raises(UserError, match=r"ignores byte ranges, .* give its path as --root \(dataset.root\)"):
        remote(server).stamp()
    assert len(server.requests) == 3


def test_a_range_that_is_ignored_once_is_asked_for_again(server):
    server.fault = lambda request: "whole" if request.number % 2 else None
    assert streamed(remote(server)) == CONTENT


VALIDATORS = {
    "strong": lambda version: {"ETag": f'"v{version}"'},
    "weak": lambda version: {"ETag": f'W/"v{version}"'},
    "date": lambda version: {"Last-Modified": f"Wed, 21 Oct 2015 07:28:0{version} GMT"},
}


@pytest.mark.parametrize("kind", VALIDATORS)
def test_bytes_of_two_versions_are_never_mixed(server, kind):
    server.validators = VALIDATORS[kind]
    source, received = remote(server), b""
    stamp = source.stamp()
    blocks = source.stream(0, len(CONTENT), stamp, 50_000)
    received = next(blocks)
    server.replace("a", CONTENT.upper())  # of the same length
    rest = []
    with pytest.raises(ChangedError):
        rest.extend(blocks)
    received += b"".join(rest)
    assert received == CONTENT[: len(received)]
    conditions = {request.headers.get("If-Range") for request in server.requests[1:]}
    assert conditions == ({'"v1"'} if kind == "strong" else {None})


def test_another_length_is_another_version_without_any_validator(server):
    server.validators = lambda version: {}
    source = remote(server)
    stamp = source.stamp()
    assert stamp == Stamp(len(CONTENT))
    assert source.read(0, 10, stamp) == CONTENT[:10]
    server.replace("a", CONTENT[:400_000])
    for start in (0, 450_000):
        with pytest.raises(ChangedError):
            source.read(start, start + 10, stamp)


def test_what_is_not_there_is_told_at_once(server):
    with pytest.raises(UserError, match=r"v3\.0\.0/b: the server answers 404 Not Found"):
        remote(server, "b").stamp()
    assert server.requests == []


def test_where_no_server_is():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/a"
        with pytest.raises(UserError, match=r"the connection failed or broke off \(Connection refused\)"):
            Remote(url, Patience(contact=2, first=0.001)).get()


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/a", "http://"])
def test_what_is_no_address(url):
    with pytest.raises(UserError):
        Remote(url, QUICK).get()


def test_a_silent_server_is_left(server):
    waiting = iter([True])
    server.sending = lambda path, offset: time.sleep(1 if next(waiting, False) else 0)
    source = remote(server, patience=Patience(first=0.001, timeout=0.2))
    assert streamed(source) == CONTENT
    assert server.connections > 1


def test_whoever_reads_can_be_stopped(server):
    source = remote(server)
    blocks = source.stream(0, len(CONTENT), source.stamp(), 100_000)
    next(blocks)
    source.stop()
    with pytest.raises(StoppedError):
        list(blocks)
