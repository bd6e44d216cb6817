"""A door to a server that can be shut while a client is inside."""

import socket
import threading
from contextlib import contextmanager, suppress


class Door:
    """Passes connections on to a port of this machine; when it is shut, it hangs up, and counts.

    Attributes:
        port: at which it listens.
        calls: connections since it was shut.
    """

    def __init__(self, target):
        self._target, self._inside = target, []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port, self.open, self.calls = self._listening.getsockname()[1], True, 0
        threading.Thread(target=self._serve, daemon=True).start()

    def shut(self):
        """As where a server dies: whoever is inside is thrown out."""
        self.open = False
        for each in self._inside:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.shut()
        self._listening.close()

    def _serve(self):
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if not self.open:
                    self.calls += 1
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._target))
                self._inside += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source, sink):
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def door(address):
    """A door to the server at an address, http://HOST:PORT."""
    opened = Door(int(address.rpartition(":")[2]))
    try:
        yield opened
    finally:
        opened.close()
