"""A lock-free queue of blocks of audio, from one thread that computes to one that plays.

Why no lock is needed: `written` is stored by the producer alone, `taken` by the consumer alone.
The producer fills a slot before it stores the new `written`, the consumer empties one before it stores
the new `taken`, and neither touches a slot that belongs to the other by the counters. CPython stores and
loads an attribute as one indivisible operation, and threads change over only at the lock of the
interpreter, which orders memory: who sees a counter sees what was written before it. A counter that is
read too late shows fewer blocks, or less room, than there is: safe, and right at the next look.
"""

import numpy as np
from numpy.typing import NDArray


class Ring:
    """Slots for blocks of samples, made once.

    Args:
        slots: blocks that can wait.
        block: samples in each at most.
        channels: c, of the samples; blocks are [block], or [block, c] if there are several.
    """

    def __init__(self, slots: int, block: int, channels: int = 1) -> None:
        self.slots, self.block, self.channels = slots, block, channels
        self._data = np.stack([self.empty(block)] * slots)
        self._lengths = [0] * slots
        self.written = 0  # blocks so far; the producer's
        self.taken = 0  # blocks so far; the consumer's

    def empty(self, samples: int) -> NDArray[np.float32]:
        """So many samples of silence, [samples] or [samples, c]."""
        shape = (samples, self.channels) if self.channels > 1 else samples
        return np.zeros(shape, dtype=np.float32)

    @property
    def waiting(self) -> int:
        """Blocks that can be taken."""
        return self.written - self.taken

    def write(self, block: NDArray[np.float32]) -> bool:
        """Append a block and say whether there was room; never waits."""
        if self.waiting == self.slots:
            return False
        slot = self.written % self.slots
        self._data[slot, : len(block)], self._lengths[slot] = block, len(block)
        self.written += 1
        return True

    def take(self, out: NDArray[np.float32]) -> int:
        """Move the oldest block into `out`, and say how many samples it has, 0 without one; never waits."""
        if not self.waiting:
            return 0
        slot = self.taken % self.slots
        length = self._lengths[slot]
        out[:length] = self._data[slot, :length]
        self.taken += 1
        return length


class Tap:
    """The consumer's end of a ring, for a device that takes any number of samples at a time.

    Attributes:
        drawn: samples handed out so far, silence included.
        skipped: samples of silence among them, because no block was ready.
        last: number of blocks after which no more come, once it is known: silence then is the end.
    """

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        # A block leaves the ring at once, however slowly it is played: the engine has all of its
        # duration for the next one.
        self._block = ring.empty(ring.block)
        self._length = self._rest = 0
        self.drawn = 0
        self.skipped = 0
        self.last: int | None = None

    @property
    def missed(self) -> int:
        """Blocks whose time passed in silence, a part counted as a whole one."""
        return -(-self.skipped // self.ring.block)

    def fill(self, out: NDArray[np.float32]) -> None:
        """The next len(out) samples, or silence where there are none; never waits."""
        begin = 0
        while begin < len(out):
            if not self._rest:
                self._length = self._rest = self.ring.take(self._block)
                if not self._rest:
                    out[begin:] = 0
                    self.skipped += len(out) - begin if self.ring.taken != self.last else 0
                    break
            count = min(self._rest, len(out) - begin)
            first = self._length - self._rest
            out[begin : begin + count] = self._block[first : first + count]
            self._rest -= count
            begin += count
        self.drawn += len(out)
