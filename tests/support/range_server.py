"""A real HTTP server on the loopback interface: byte ranges, ETag, If-Range, and faults on demand.

Also makes archives to serve; benchmarks/download.py uses both.
"""

import io
import re
import threading
import time
import zipfile
from collections import namedtuple
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Request = namedtuple("Request", "number path start stop headers")
PIECE = 8192  # bytes handed to the network at a time


class RangeServer(ThreadingHTTPServer):
    """Serves `files`, by path, in memory.

    `fault` is called with every request and may return a fault: "drop" (half of the answer, then the
    connection ends), "refuse" (it ends at once), "flip" (one bit in the middle of the answer is wrong),
    ("flip", 77) (one bit of that byte of the file), "whole" (ranges are ignored), a status (500), or a
    status and its Retry-After ((429, "1")). `sending` is called before every piece. `requests` and
    `connections` are kept, and the `sent` bytes of every path.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files)
        self.versions = dict.fromkeys(self.files, 1)
        self.fault = lambda request: None
        self.sending = lambda path, offset: None
        self.validators = lambda version: {"ETag": f'"v{version}"'}
        self.requests, self.connections, self.sent = [], 0, {}
        self.overhead = 0
        self.rate = None  # bytes/s of every connection
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v3.0.0/"

    def replace(self, path, content):
        """Another version of a file."""
        self.files[path] = content
        self.versions[path] += 1

    def count(self, path, number):
        with self.lock:
            self.sent[path] = self.sent.get(path, 0) + number

    def handle_error(self, request, client_address):
        """Clients that were killed are expected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def log_message(self, *_):
        pass

    def do_GET(self):
        server, path = self.server, self.path.removeprefix("/v3.0.0/")
        if path not in server.files:
            self.send_error(404)
            return
        content, version = server.files[path], server.versions[path]
        start, stop = self.asked(len(content))
        with server.lock:
            request = Request(len(server.requests), path, start, stop, dict(self.headers))
            server.requests.append(request)
        fault = server.fault(request)
        if fault == "refuse":
            self.close_connection = True
            return
        status, after = fault if isinstance(fault, tuple) else (fault, None)
        if isinstance(status, int):
            self.answer(status, {"Content-Length": "0"} | ({"Retry-After": after} if after else {}))
            return
        validators = server.validators(version)
        condition = self.headers.get("If-Range")
        if start is None or fault == "whole" or condition not in (None, validators.get("ETag")):
            self.answer(200, {"Content-Length": str(len(content)), **validators})
            self.body(path, content, 0, len(content), fault)
            return
        if start >= len(content):
            self.answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
            return
        span = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
        self.answer(206, {"Content-Length": str(stop - start), **span, **validators})
        self.body(path, content, start, stop, fault)

    def asked(self, size):
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        return (int(found[1]), min(int(found[2]) + 1, size)) if found else (None, None)

    def answer(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        with self.server.lock:
            self.server.overhead += sum(map(len, self._headers_buffer)) + 2
        self.end_headers()

    def body(self, path, content, start, stop, fault):
        if fault == "drop":
            stop = start + (stop - start + 1) // 2
            self.close_connection = True
        flipped = (start + stop) // 2 if fault == "flip" else -1
        if isinstance(fault, tuple) and fault[0] == "flip":
            flipped = fault[1]
        for offset in range(start, stop, PIECE):
            piece = bytearray(content[offset : min(offset + PIECE, stop)])
            if 0 <= flipped - offset < len(piece):
                piece[flipped - offset] ^= 0x10
            self.server.sending(path, offset)
            self.server.count(path, len(piece))  # first: who has the piece finds it counted
            try:
                self.wfile.write(piece)
            except OSError:
                self.server.count(path, -len(piece))
                raise
            if self.server.rate:
                time.sleep(len(piece) / self.server.rate)


@contextmanager
def serving(files):
    """A `RangeServer` that stops at the end."""
    server = RangeServer(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def zip_bytes(members, method=zipfile.ZIP_DEFLATED, zip64=True, comment=b""):
    """An archive of members by name; a member may be a pair of contents and its method.

    With `zip64`, it has the records of an archive of more than 4 GB, in both places.
    """
    buffer = io.BytesIO()
    limits = {name: getattr(zipfile, name) for name in ("ZIP64_LIMIT", "ZIP_FILECOUNT_LIMIT")}
    try:
        if zip64:
            zipfile.ZIP64_LIMIT = zipfile.ZIP_FILECOUNT_LIMIT = -1
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.comment = comment
            for name, content in members.items():
                content, how = content if isinstance(content, tuple) else (content, method)
                entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
                entry.compress_type = how
                with archive.open(entry, "w", force_zip64=zip64) as file:
                    file.write(content)
    finally:
        for name, value in limits.items():
            setattr(zipfile, name, value)
    return buffer.getvalue()
