"""The page of a listening test, on loopback only.

| request | answer |
|---|---|
| GET /, /NAME.css, /NAME.js | the page |
| GET /api/welcome | what its first screen shows |
| GET /audio/NAME | a WAV file under its opaque name |
| POST /api/state {participant} | the page to show |
| POST /api/rate {participant, page, sound, value} | the same page, with one rating more |
| POST /api/finish {participant, page} | the next page |
"""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from diffsynth.errors import UserError
from diffsynth.listening.session import Session

HOST = "127.0.0.1"
PAGE = {"/": "index.html", **{f"/{name}": name for name in ("style.css", "listen.js", "player.js")}}
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
LONGEST = 4096  # bytes of a request
WAKE = 0.5  # s
# The page has no need of anything from elsewhere, and other pages have no business with this one.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class ListeningServer(ThreadingHTTPServer):
    """Serves one session to browsers of this machine.

    It holds its port from the beginning, so that nothing has to be written before the port is known to be
    free, and answers from `run` on.

    Args:
        port: to listen at; 0 takes any that is free.

    Raises:
        UserError: the port is taken, or not allowed.
    """

    daemon_threads = True
    session: Session

    def __init__(self, port: int = 0) -> None:
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UserError(f"cannot listen at port {port}: {error.strerror}") from error
        # A page elsewhere may give its own name the address of this machine, but not the name of this one.
        self.hosts = {f"{host}:{self.server_port}" for host in (HOST, "localhost")}

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def run(self, session: Session) -> None:
        """Serve a session until it is over; what is being answered then is answered."""
        self.session = session
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            # Not for ever: a Ctrl-C just before the thread falls asleep is heard when it wakes.
            while not session.over.wait(WAKE):
                pass
        finally:
            self.shutdown()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: ListeningServer
    server_version, sys_version = "diffsynth", ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if not self._is_for_us():
            self._refuse(HTTPStatus.FORBIDDEN, "not for this name")
        elif path in PAGE:
            name = PAGE[path]
            content = (files("diffsynth.listening") / "page" / name).read_bytes()
            self._send(HTTPStatus.OK, f"{TYPES[name.rpartition('.')[2]]}; charset=utf-8", content)
        elif path == "/api/welcome":
            self._send_json(HTTPStatus.OK, self.server.session.welcome())
        elif (sound := self.server.session.sound(path.removeprefix("/audio/"))) is not None:
            self._send(HTTPStatus.OK, "audio/wav", sound)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        session = self.server.session
        calls: dict[str, tuple[Callable[..., dict[str, Any]], dict[str, type]]] = {
            "/api/state": (session.state, {"participant": str}),
            "/api/rate": (
                session.rate,
                {"participant": str, "page": str, "sound": str, "value": int},
            ),
            "/api/finish": (session.finish, {"participant": str, "page": str}),
        }
        if self.path not in calls or not self._is_for_us():
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such call")
            return
        call, types = calls[self.path]
        try:
            self._send_json(HTTPStatus.OK, call(**self._body(types)))
        except UserError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        if self.path == "/api/finish":  # only now: whoever gave the last answer has the last page
            session.check_over()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the terminal is for the experimenter."""

    def _is_for_us(self) -> bool:
        origin = self.headers.get("Origin")
        host = self.headers.get("Host", "")
        return host in self.server.hosts and origin in (None, f"http://{host}")

    def _body(self, types: dict[str, type]) -> dict[str, Any]:
        """The fields of a request, which must be these and of these types."""
        values: Any = None
        with suppress(ValueError):
            length = int(self.headers.get("Content-Length", "0"))
            values = json.loads(self.rfile.read(length)) if 0 < length <= LONGEST else None
        if not isinstance(values, dict) or {name: type(value) for name, value in values.items()} != types:
            raise UserError("the request does not have the fields that it should")
        return values

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._send_json(status, {"error": message})

    def _send_json(self, status: HTTPStatus, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        with suppress(ConnectionError):  # the browser may have left
            self.send_response(status)
            for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)
