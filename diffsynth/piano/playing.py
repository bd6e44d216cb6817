"""A whole performance as the piano plays it, nothing learned."""

import numpy as np
from numpy.typing import NDArray

from diffsynth.midi.events import Events
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.piano import Piano


def play_whole(piano: Piano, events: Events, rate: int, frame: int, length: int) -> NDArray[np.float32]:
    """Audio of a whole performance with all gains at 1, [length] samples, or [length, c] of c > 1 channels.

    `events` carry `position` in samples from the start, in order.
    """
    bank = Bank(piano, rate, frame)
    frames = 32
    block = frames * frame
    unity = np.ones((frames + 1, bank.modes), dtype=np.float32)
    samples = -(-length // block) * block
    audio = np.empty((samples, piano.channels) if piano.channels > 1 else samples, dtype=np.float32)
    for begin in range(0, length, block):
        low, high = np.searchsorted(events["position"], [begin, begin + block])
        part = events[low:high].copy()
        part["position"] -= begin
        audio[begin : begin + block] = bank.play(bank.process(part, frames), unity)
    return audio[:length]
