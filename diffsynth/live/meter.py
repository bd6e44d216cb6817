"""What is shown of the engine while it plays and after."""

from dataclasses import dataclass

import numpy as np

WIDTH = 0.0025  # of a bin of load
BINS = 2000  # up to five times the duration of a block


@dataclass(frozen=True)
class Summary:
    """Statistics of playing: loads are compute time over the duration of a block."""

    blocks: int
    missed: int
    seconds: float
    load_p50: float
    load_p99: float
    load_max: float
    latency: float  # s from the arrival of an event to the device's output

    def line(self) -> str:
        """The statistics as text."""
        loads = " ".join(
            f"{name} {load:.1%}"
            for name, load in (("p50", self.load_p50), ("p99", self.load_p99), ("max", self.load_max))
        )
        return (
            f"{self.seconds:.1f} s played, load {loads}, latency {1000 * self.latency:.1f} ms, "
            f"{self.missed} of {self.blocks} blocks missed"
        )


class Meter:
    """Loads of all blocks in bounded memory; written by the thread of the engine."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, dtype=np.int64)
        self.blocks = 0
        self.total = 0.0
        self.largest = 0.0

    def add(self, load: float) -> None:
        """Count one block."""
        self._counts[min(int(load / WIDTH), BINS - 1)] += 1
        self.largest = max(self.largest, load)
        self.total += load
        self.blocks += 1

    def quantile(self, part: float) -> float:
        """The load that this part (0..1) of all blocks stays below, to the width of a bin."""
        bin_ = int(np.searchsorted(self._counts.cumsum(), part * self._counts.sum()))
        return min((bin_ + 1) * WIDTH, self.largest)

    def summary(self, missed: int, seconds: float, latency: float) -> Summary:
        """Everything so far; `missed` of the blocks were not ready in time."""
        quantiles = self.quantile(0.5), self.quantile(0.99)
        return Summary(self.blocks, missed, seconds, *quantiles, self.largest, latency)


class Display:
    """The line on the terminal, about once a second."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._blocks, self._total = 0, 0.0

    def line(self, missed: int, latency: float) -> str:
        """Mean load since the last line, latency in seconds, blocks missed so far."""
        blocks, total = self._meter.blocks, self._meter.total
        load = (total - self._total) / max(blocks - self._blocks, 1)
        self._blocks, self._total = blocks, total
        return f"load {load:4.0%}  latency {1000 * latency:.1f} ms  missed blocks {missed}"
