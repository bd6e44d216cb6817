"""A file at a web server, read by byte ranges; a broken request continues where it stopped.

A *stamp* tells one version of the remote file from another, so that bytes of two are never mixed.
"""

import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import requests
import urllib3

from diffsynth.errors import UserError

BLOCK = 1 << 16  # bytes handed over at a time, at most
WHOLE = "download the whole archive by hand and give its path as --root (dataset.root)"
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\s*$")
_NOTICEABLE = 5.0  # s of waiting that are worth a line
_REFUSED_RANGES = 3  # answers without the range, after which the server counts as unable to give ranges

Result = TypeVar("Result")


class ChangedError(Exception):
    """The remote file has changed since the first bytes were read."""


class StoppedError(Exception):
    """`Remote.stop` was called."""


@dataclass(frozen=True)
class Patience:
    """Retries and timeouts for a bad network; times in s.

    Attributes:
        contact: tries before the first answer, when giving up loses no data.
        tries: tries in a row that bring no byte.
        first: pause after the first failure; it doubles up to `longest`, and is drawn from its upper
            half, so that several clients do not come back together.
        longest: see `first`.
        obeyed: longest pause that a server may ask for (Retry-After).
        timeout: for a connection and for every piece of an answer.
    """

    contact: int = 5
    tries: int = 8
    first: float = 0.5
    longest: float = 60.0
    obeyed: float = 600.0
    timeout: float = 20.0


@dataclass(frozen=True)
class Stamp:
    """Version of a remote file: size in bytes, ETag and Last-Modified as sent, "" if not."""

    size: int
    etag: str = ""
    date: str = ""

    @property
    def condition(self) -> dict[str, str]:
        """Header that makes a changed file come as a whole; only an exact ETag may be used so."""
        return {"If-Range": self.etag} if self.etag.startswith('"') else {}

    def agrees(self, other: "Stamp") -> bool:
        """Whether the other, of a later answer, may be of the same version."""
        if self.etag and other.etag:
            return (self.size, self.etag) == (other.size, other.etag)
        return self.size == other.size and (not self.date or not other.date or self.date == other.date)


class _AgainError(Exception):
    """A failure that may be temporary: the reason, the pause asked for in s, and the most tries."""

    def __init__(self, reason: str, after: float | None = None, tries: int | None = None) -> None:
        super().__init__(reason)
        self.after, self.tries = after, tries


class Remote:
    """One address, used by any number of threads; every method raises UserError if it gives up."""

    def __init__(
        self, url: str, patience: Patience | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        self.url = url
        self._patience = patience or Patience()
        self._say = say or (lambda _: None)
        self._stop = threading.Event()
        self._local = threading.local()  # a requests.Session is for one thread

    def stop(self) -> None:
        """Make all threads that read raise `StoppedError`."""
        self._stop.set()

    def stamp(self) -> Stamp:
        """The present version.

        Raises:
            UserError: the server does not give byte ranges; says what to do then.
        """

        def ask() -> Stamp:
            # One byte, because not every server knows HEAD or ranges that count from the end.
            with self._open({"Range": "bytes=0-0"}) as response:
                stamp = self._ranged(response, 0, None)
                for _ in self._blocks(response):  # or the connection could not be used again
                    pass
                return stamp

        try:
            return self._patiently(ask)
        except ChangedError as error:
            raise UserError(f"{self.url} is empty") from error

    def get(self) -> bytes:
        """All bytes, for small files."""

        def ask() -> bytes:
            with self._open({}) as response:
                return b"".join(self._blocks(response))

        return self._patiently(ask)

    def stream(self, start: int, stop: int, stamp: Stamp, chunk: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `stop` in order, whatever happens in between.

        Args:
            start: offset in bytes.
            stop: see `start`.
            stamp: the version wanted.
            chunk: bytes asked for at once, and so the most that can be under way and lost.

        Raises:
            ChangedError: the file is of another version now.
            StoppedError: see `stop`.
        """
        failures = 0
        while start < stop:
            before = start
            try:
                for block in self._range(start, min(start + chunk, stop), stamp):
                    start += len(block)
                    yield block
                failures = 0
            except _AgainError as again:
                failures = failures + 1 if start == before else 0
                self._pause(failures, self._patience.tries, again)

    def read(self, start: int, stop: int, stamp: Stamp) -> bytes:
        """The bytes from `start` to before `stop` at once; see `stream`."""
        return b"".join(self.stream(start, stop, stamp, stop - start))

    def _range(self, start: int, stop: int, stamp: Stamp) -> Iterator[bytes]:
        """What one request brings of a range, never more than was asked for."""
        left = stop - start
        headers = {"Range": f"bytes={start}-{stop - 1}", **stamp.condition}
        with self._open(headers) as response:
            self._ranged(response, start, stamp)
            for block in self._blocks(response):
                yield block[:left]
                left -= len(block)
                if left <= 0:
                    return
        if left == stop - start:
            raise _AgainError("the server sent nothing")

    def _ranged(self, response: requests.Response, start: int, known: Stamp | None) -> Stamp:
        """Stamp of an answer that has been asked for a range, having checked that it is that range."""
        found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        size = int(found[3] if found else response.headers.get("Content-Length", -1))
        stamp = Stamp(size, response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))
        if known is not None and not known.agrees(stamp):
            raise ChangedError
        if response.status_code != 206 or not found:
            raise _AgainError(
                f"the server ignores byte ranges, by which a part of an archive is fetched: {WHOLE}",
                tries=_REFUSED_RANGES,
            )
        if int(found[1]) != start:
            raise _AgainError("the server sent another range than it was asked for")
        return stamp

    @contextmanager
    def _open(self, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """An answer of status 200 or 206, its body not read yet."""
        # Unread bodies are dropped with their connection: they may be a whole archive.
        wait = self._patience.timeout
        with _network_errors(wait):
            response = self._session().get(
                self.url, headers={"Accept-Encoding": "identity", **headers}, stream=True, timeout=wait
            )
        with response:
            status = f"the server answers {response.status_code} {response.reason}"
            if response.status_code in _TRANSIENT:
                raise _AgainError(status, _retry_after(response.headers.get("Retry-After", "")))
            if response.status_code in (412, 416) and "Range" in headers:
                raise ChangedError
            if response.status_code not in (200, 206):
                raise UserError(f"{self.url}: {status}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise UserError(f"{self.url}: the server recodes what it sends: {WHOLE}")
            yield response

    def _blocks(self, response: requests.Response) -> Iterator[bytes]:
        with _network_errors(self._patience.timeout):
            # Takes what is there at once: part of a block would be lost with the connection.
            while block := response.raw.read1(BLOCK, decode_content=False):
                if self._stop.is_set():
                    raise StoppedError
                yield block

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        return session

    def _patiently(self, ask: Callable[[], Result]) -> Result:
        failures = 0
        while True:
            try:
                return ask()
            except _AgainError as again:
                failures += 1
                self._pause(failures, self._patience.contact, again)

    def _pause(self, failures: int, tries: int, again: _AgainError) -> None:
        """Wait before the next try.

        Raises:
            UserError: all tries are used up, or the server asks for too long a pause.
        """
        patience = self._patience
        if failures >= min(tries, again.tries or tries):
            raise UserError(f"{self.url}: {again}") from again
        seconds = min(patience.longest, patience.first * 2 ** (failures - 1)) * random.uniform(0.5, 1)
        if again.after is not None:
            seconds = max(seconds, again.after)
        if seconds > patience.obeyed:
            raise UserError(f"{self.url}: {again}, and asks to come back in {seconds:.0f} s") from again
        if seconds >= _NOTICEABLE:
            self._say(f"waiting {seconds:.0f} s: {again}")
        if self._stop.wait(seconds):
            raise StoppedError


@contextmanager
def _network_errors(timeout: float) -> Iterator[None]:
    """`_AgainError` for whatever a network does to a request."""
    try:
        yield
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise _AgainError(f"no answer within {timeout:g} s") from error
    except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
        raise _AgainError(f"the connection failed or broke off{_reason(error)}") from error
    except requests.RequestException as error:
        raise UserError(str(error)) from error


def _reason(error: BaseException | None) -> str:
    """The system's own words somewhere behind an error of requests."""
    words = ""
    while error is not None:
        words = getattr(error, "strerror", None) or words
        error = error.__cause__ or error.__context__
    return f" ({words})" if words else ""


def _retry_after(text: str) -> float | None:
    """Seconds of a Retry-After header, which is a number of them or a date; None if it is neither."""
    if text.strip().isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
