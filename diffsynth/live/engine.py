"""The thread that computes: events of the last block in, the next block into the ring."""

import threading
import time

import numpy as np

from diffsynth.live.clock import Clock, now
from diffsynth.live.messages import KEYS_UP, PEDALS_UP
from diffsynth.live.meter import Meter
from diffsynth.live.resampling import Resampler
from diffsynth.live.ring import Tap
from diffsynth.live.sinks import POLL
from diffsynth.live.sources import Source
from diffsynth.midi.events import SAMPLE_EVENT, Events
from diffsynth.synthesis.fading import Fading
from diffsynth.synthesis.synthesizer import NO_EVENTS, WARM_UP, Synthesizer

RELEASE = 0.5  # s in which what still sounds dies away at the end

RELEASE_EVENTS = np.array([(0, *row) for row in KEYS_UP + PEDALS_UP], dtype=SAMPLE_EVENT)


def warm_up(synthesizer: Synthesizer) -> None:
    """Play some blocks with notes, unheard, so that the first heard block is as quick as the others."""
    notes = np.array([(0, 2, 60, 80), (9, 0, 60, 0)], dtype=SAMPLE_EVENT)
    for index in range(WARM_UP):
        synthesizer.process(notes if index % 2 else NO_EVENTS)
    synthesizer.reset()


class Engine:
    """Makes one block whenever its events are complete and the ring has room.

    Args:
        synthesizer: plays.
        source: of the events.
        tap: the consumer's end of the ring; it counts the samples that were not ready in time.
        clock: of the stream.
        rate: of the samples in the ring, Hz.
    """

    def __init__(self, synthesizer: Synthesizer, source: Source, tap: Tap, clock: Clock, rate: int) -> None:
        self.meter = Meter()
        self.error: BaseException | None = None
        self._synthesizer, self._source, self._clock = synthesizer, source, clock
        self._tap, self._ring = tap, tap.ring
        self._block, self._rate = synthesizer.block, synthesizer.rate
        self._resample = Resampler(self._rate, rate, self._block, synthesizer.channels)
        self._heard_rate = rate
        self._fading = Fading(synthesizer.rate)
        self._stop = threading.Event()
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def delay(self) -> int:
        """Samples of the voice from the arrival of an event to the sink taking its first sample."""
        return (self._ring.slots + 1) * self._block + self._resample.delay

    @property
    def window(self) -> int:
        """Position at which the events of the next block begin.

        The block will be taken after all written ones and all silence so far; its events are those
        that arrived one block and a full ring earlier.
        """
        written = self._ring.written * self._block + self._tap.skipped * self._rate // self._heard_rate
        return written - (self._ring.slots + 1) * self._block

    def start(self) -> None:
        """Begin to compute."""
        self._thread.start()

    def stop(self, abandon: bool = False) -> None:
        """Let everything that sounds die away, then end; at once with `abandon`."""
        self._abandoned = abandon
        self._stop.set()

    @property
    def alive(self) -> bool:
        """Whether more blocks are to come."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> bool:
        """Wait for the end, at most `timeout` seconds; says whether it has come."""
        self._thread.join(timeout)
        return not self.alive

    def advance(self) -> None:
        """Compute the next block and put it into the ring, which must have room."""
        begin = self.window
        events = self._source.take(begin + self._block, self._clock)
        # Events of a missed block may be left: they come at once, at the start of this block.
        events["position"] -= begin
        self._play(events)

    @property
    def over(self) -> bool:
        """Whether the source has ended, and its sound has died away."""
        return self._source.ended(self.window) and self._fading.silent

    def _play(self, events: Events) -> None:
        begin = now()
        sound = self._synthesizer.process(events)
        self._fading.add(sound, len(events), self._synthesizer.rest)
        audio = self._resample(sound)
        self.meter.add((now() - begin) * self._rate / self._block)
        self._ring.write(audio)

    def _run(self) -> None:
        try:
            while self._wait() and not self.over:
                self.advance()
            self._release()
        except BaseException as error:
            self.error = error

    def _wait(self) -> bool:
        """Until the events of the next block are complete and the ring has room; False at the end."""
        while not self._stop.is_set():
            early = self._clock.moment((self.window + self._block) / self._rate) - now()
            if early <= 0 and self._ring.waiting < self._ring.slots:
                return True
            self._stop.wait(min(max(early, POLL), 0.02))
        return False

    def _release(self) -> None:
        """Blocks in which everything that sounds dies away."""
        rest = self._source.take(self.window + self._block, self._clock)
        rest["position"] = 0
        events, blocks = np.concatenate([rest, RELEASE_EVENTS]), -(-int(RELEASE * self._rate) // self._block)
        self._tap.last = self._ring.written + blocks
        for _ in range(blocks):
            while self._ring.waiting == self._ring.slots and not self._abandoned:
                time.sleep(POLL)
            if self._abandoned:
                return
            self._play(events)
            events = NO_EVENTS
