"""A performance from beginning to end: warm-up, playing, and an end that leaves no note behind."""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from diffsynth.live.clock import now
from diffsynth.live.engine import Engine, warm_up
from diffsynth.live.meter import Display, Summary
from diffsynth.live.resampling import Resampler
from diffsynth.live.ring import Ring, Tap
from diffsynth.live.sinks import POLL, Sink
from diffsynth.live.sources import Source
from diffsynth.synthesis.synthesizer import Synthesizer

LOOK = 0.05  # s between two checks of the engine and the sink
SHOW = 1.0  # s between two lines of the meter
SWITCH = 0.0005  # s after which a thread that computes lets another have its turn


@dataclass(frozen=True)
class Ending:
    """How a performance ended: what went wrong, or what stopped it, if anything."""

    summary: Summary
    failure: str | None
    stopped: BaseException | None


@contextmanager
def prompt_threads() -> Iterator[None]:
    """Threads that wait for the interpreter get it soon, and no long collection of garbage stops all."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    gc.collect()
    gc.freeze()  # what is loaded now is not searched again
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)


class Session:
    """Joins an engine to a sink.

    Args:
        synthesizer: plays; starts afresh.
        sink: is opened here, and closed by the caller.
        buffers: blocks that wait in the ring. More than one request of the device can hold is added.
    """

    def __init__(self, synthesizer: Synthesizer, sink: Sink, buffers: int) -> None:
        self._synthesizer, self._sink = synthesizer, sink
        warm_up(synthesizer)
        sink.open()
        block = Resampler(synthesizer.rate, sink.rate, synthesizer.block).most
        # A device that asks for several blocks at once finds them all.
        self._ring = Ring(buffers + -(-sink.period // block) - 1, block, synthesizer.channels)
        self._tap = Tap(self._ring)
        self.latency = (self._ring.slots + 1) * synthesizer.block / synthesizer.rate + sink.delay

    def play(self, source: Source, seconds: float | None, show: Callable[[str], None]) -> Ending:
        """Play until the source ends, `seconds` have passed, something fails, or the process is told to end.

        Args:
            source: of the events.
            seconds: of stream time.
            show: gets a line for the terminal about once a second.
        """
        engine = Engine(self._synthesizer, source, self._tap, self._sink.clock, self._sink.rate)
        self.latency = engine.delay / self._synthesizer.rate + self._sink.delay
        silence = self._ring.empty(self._ring.block)
        while self._ring.write(silence):
            pass
        failure: str | None = None
        stopped: BaseException | None = None
        with prompt_threads():
            try:
                self._sink.begin(self._tap)
                engine.start()
                failure = self._watch(engine, source, seconds, show)
            except (KeyboardInterrupt, SystemExit) as told:
                stopped = told
            finally:
                self._end(engine)
        if engine.error:
            raise engine.error
        seconds = self._tap.drawn / self._sink.rate
        return Ending(engine.meter.summary(self._sink.late, seconds, self.latency), failure, stopped)

    def _watch(
        self, engine: Engine, source: Source, seconds: float | None, show: Callable[[str], None]
    ) -> str | None:
        """Wait until it ends; returns the reason, if it is a failure."""
        display, shown = Display(engine.meter), now()
        while engine.alive:
            time.sleep(LOOK)
            if seconds is not None and self._tap.drawn >= seconds * self._sink.rate:
                return None
            if failure := self._sink.failure():
                return failure
            if now() - shown >= SHOW:
                shown += SHOW
                show(display.line(self._sink.late, self.latency))
                if failure := source.failure():
                    return failure
        return None

    def _end(self, engine: Engine) -> None:
        """The release, and the last blocks through the ring."""
        engine.stop()
        while engine.alive:
            engine.join(LOOK)
            if self._sink.failure():
                engine.stop(abandon=True)
        # The sink takes what is left after a while, unless it has failed.
        patience = now() + 1.0 + self._ring.slots * self._synthesizer.block / self._synthesizer.rate
        while self._ring.waiting and not self._sink.failure() and now() < patience:
            time.sleep(POLL)
        time.sleep(min(self._sink.delay, 1.0))
