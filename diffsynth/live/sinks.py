"""Where the sound goes; here what needs no device: nowhere, or into a file, at the pace of the clock."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from diffsynth.audio.files import Audio
from diffsynth.errors import UserError
from diffsynth.live.clock import Clock, now
from diffsynth.live.ring import Tap

POLL = 0.0005  # s between two looks at a ring


class Sink(Protocol):
    """Takes blocks from a ring, in a thread of its own, and keeps the clock."""

    clock: Clock
    name: str
    rate: int  # of its samples, Hz

    def open(self) -> None:
        """Get ready, and give out silence."""
        ...

    @property
    def period(self) -> int:
        """Most samples taken at a time, known once it is open."""
        ...

    @property
    def delay(self) -> float:
        """Seconds from taking a sample to hearing it, known once it is open."""
        ...

    @property
    def late(self) -> int:
        """Blocks that were not ready in time."""
        ...

    def begin(self, tap: Tap) -> None:
        """Stream time 0: take blocks from here on."""
        ...

    def failure(self) -> str | None:
        """What is wrong with it, if it takes no more."""
        ...

    def close(self) -> None:
        """Take no more."""
        ...


class PacedSink:
    """Takes one block after the other at the pace of the clock.

    If a block is late, the sink and the clock of the stream wait for it. It counts as missed,
    but the recording is complete.

    Args:
        rate: of the samples, Hz.
        name: shown to the user.
        write: gets every block, if given.
    """

    def __init__(self, rate: int, name: str, write: Callable[[Audio], None] | None = None) -> None:
        self.rate, self.name, self._write = rate, name, write
        self.clock = Clock()
        self.period, self.delay, self.late = 1, 0.0, 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: str | None = None

    def open(self) -> None:
        """See `Sink`."""

    def begin(self, tap: Tap) -> None:
        """See `Sink`."""
        self.clock.set(0.0, now())
        self._thread = threading.Thread(target=self._run, args=(tap,), name="sink", daemon=True)
        self._thread.start()

    def failure(self) -> str | None:
        """See `Sink`."""
        return self._failure

    def close(self) -> None:
        """See `Sink`."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _run(self, tap: Tap) -> None:
        block = tap.ring.empty(tap.ring.block)
        try:
            while self._wait(tap):
                tap.fill(block)
                if self._write:
                    self._write(block)
        except UserError as error:
            self._failure = str(error)
        except OSError as error:
            self._failure = f"cannot write {self.name}: {error}"

    def _wait(self, tap: Tap) -> bool:
        """Until it is time for the next block and it is there; False if the end comes before."""
        position = tap.drawn / self.rate
        if self._stop.wait(self.clock.moment(position) - now()):
            return False
        if tap.ring.waiting:
            return True
        while not tap.ring.waiting:
            if self._stop.is_set():
                return False
            time.sleep(POLL)
        self.late += 1
        self.clock.set(position, now())
        return True
