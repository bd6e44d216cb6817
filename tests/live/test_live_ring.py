"""The ring between the engine and the device: nothing lost, nothing twice, whoever runs when."""

import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth.live import ring as module
from diffsynth.live.ring import Ring, Tap

BLOCK = 4


def block(index):
    """A block whose samples all say which it is, from 1."""
    return np.full(BLOCK, index + 1, dtype=np.float32)


@given(
    slots=st.integers(1, 5),
    steps=st.lists(st.booleans(), max_size=60),
)
def test_blocks_come_out_in_order_and_once(slots, steps):
    ring, out = Ring(slots, BLOCK), np.zeros(BLOCK, np.float32)
    written = taken = 0
    for writes in steps:
        if writes:
            assert ring.write(block(written)) == (written - taken < slots)
            written = min(written + 1, taken + slots)
        else:
            before = out.copy()
            assert ring.take(out) == BLOCK * (taken < written)
            expected = block(taken) if taken < written else before
            np.testing.assert_array_equal(out, expected)
            taken = min(taken + 1, written)
        assert ring.waiting == written - taken


@given(lengths=st.lists(st.integers(1, BLOCK), max_size=9), asked=st.integers(1, 3 * BLOCK))
def test_blocks_may_be_shorter(lengths, asked):
    ring = Ring(max(len(lengths), 1), BLOCK)
    tap, begin = Tap(ring), 1
    for length in lengths:
        assert ring.write(np.arange(begin, begin + length, dtype=np.float32))
        begin += length
    found = np.zeros((begin // asked + 1, asked), np.float32)
    for out in found:
        tap.fill(out)
    expected = np.zeros(found.size)
    expected[: begin - 1] = np.arange(1, begin)
    np.testing.assert_array_equal(found.ravel(), expected)
    assert tap.skipped == found.size - (begin - 1)


class Turns:
    """Lets two threads run one line of the ring's code at a time, in an order that is given."""

    def __init__(self, order):
        self._order = iter(order)
        self._lock = threading.Condition()
        self._done = [False, False]
        self._next = self._choose()

    def run(self, *functions):
        threads = [
            threading.Thread(target=self._traced, args=pair, daemon=True) for pair in enumerate(functions)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()

    def _choose(self):
        wanted = int(next(self._order, not getattr(self, "_next", 0)))
        return 1 - wanted if self._done[wanted] else wanted

    def _traced(self, who, function):
        def on_line(frame, event, _):
            if event == "line":
                with self._lock:
                    self._lock.wait_for(lambda: self._next == who)
                    self._next = self._choose()
                    self._lock.notify_all()
            return on_line

        sys.settrace(lambda frame, event, _: on_line if frame.f_code.co_filename == module.__file__ else None)
        try:
            function()
        finally:
            sys.settrace(None)
            with self._lock:
                self._done[who] = True
                self._next = 1 - who
                self._lock.notify_all()


@settings(deadline=None, max_examples=100)
@given(slots=st.integers(1, 2), runs=st.lists(st.integers(1, 12), min_size=10, max_size=30))
def test_two_threads_whose_lines_interleave_in_any_way(slots, runs):
    order = [index % 2 for index, length in enumerate(runs) for _ in range(length)]
    ring, found, tries = Ring(slots, BLOCK), [], 12
    accepted = []

    def produce():
        for _ in range(tries):
            if ring.write(block(len(accepted))):
                accepted.append(len(accepted))

    def consume():
        for _ in range(tries):
            out = np.zeros(BLOCK, np.float32)
            if ring.take(out):
                found.append(out)

    Turns(order).run(produce, consume)
    rest = np.zeros(BLOCK, np.float32)
    while ring.take(rest):
        found.append(rest.copy())
    np.testing.assert_array_equal(found, [block(index) for index in accepted])
    assert len(accepted) >= slots


def test_two_threads_at_full_speed():
    ring, total = Ring(3, BLOCK), 300
    found = []

    def consume():
        out = np.zeros(BLOCK, np.float32)
        while len(found) < total:
            if ring.take(out):
                found.append(out[0] if (out == out[0]).all() else -1)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread = threading.Thread(target=consume, daemon=True)
        thread.start()
        written = 0
        while written < total and thread.is_alive():
            written += ring.write(block(written))
        thread.join(20)
    finally:
        sys.setswitchinterval(before)
    np.testing.assert_array_equal(found, np.arange(total) + 1)


@given(
    requests=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3 * BLOCK)), max_size=30),
)
def test_a_tap_hands_out_any_number_of_samples(requests):
    ring = Ring(3, BLOCK)
    tap, written, sound, silence = Tap(ring), 0, [], 0
    for writes, count in requests:
        for _ in range(writes):
            written += ring.write(block(written))
        out = np.full(count, -1, np.float32)
        tap.fill(out)
        heard = np.flatnonzero(out)
        assert heard.tolist() == list(range(len(heard)))  # silence only after what there was
        silence += count - len(heard)
        sound += out[heard].tolist()
        assert len(heard) == count or not ring.waiting
    assert sound == np.repeat(np.arange(written) + 1, BLOCK)[: len(sound)].tolist()
    assert (tap.skipped, tap.drawn) == (silence, silence + len(sound))
    assert tap.missed == pytest.approx(np.ceil(silence / BLOCK))


def test_a_block_leaves_the_ring_when_its_first_sample_is_taken():
    ring = Ring(1, BLOCK)
    tap = Tap(ring)
    assert ring.write(block(0))
    tap.fill(np.zeros(1, np.float32))
    assert ring.write(block(1))
    assert not ring.write(block(2))


@pytest.mark.parametrize(("written", "missed"), [(1, 2), (2, 0)])
def test_silence_after_the_last_block_is_the_end_and_no_block_that_is_missed(written, missed):
    ring = Ring(2, BLOCK)
    tap = Tap(ring)
    tap.last = 2
    for index in range(written):
        ring.write(block(index))
    tap.fill(np.zeros(3 * BLOCK, np.float32))
    assert (tap.missed, tap.drawn) == (missed, 3 * BLOCK)
