"""The metrics of a performance piece by piece, so that it can be told how sure a mean is.

A segment is measured like a performance, but that the prediction keeps the level that it has beside the whole
target. Metrics that look at a performance as a whole (its quietest frames, its loudest band) look at a
segment instead; the mean over segments is therefore near the value of the whole, but not equal.
"""

from diffsynth.evaluation.pair import Pair
from diffsynth.evaluation.registry import measure

SEGMENT = 5.0  # s


def evaluate_segments(pair: Pair, seconds: float = SEGMENT) -> dict[str, list[float]]:
    """Every metric of the table of each segment of a pair, in order.

    Args:
        pair: target and prediction of a performance.
        seconds: length of a segment; the last one is longer, by less than half of it, or shorter.
    """
    rows = [measure(pair.part(*edges)) for edges in segment_edges(len(pair.target), pair.rate, seconds)]
    return {name: [row[name] for row in rows] for name in rows[0]}


def segment_edges(length: int, rate: int, seconds: float = SEGMENT) -> list[tuple[int, int]]:
    """First sample of each segment, and the one after its last.

    Less than half a segment at the end belongs to the one before it.

    Args:
        length: samples in all, at least one.
        rate: of samples, Hz.
        seconds: length of a segment.
    """
    step = round(seconds * rate)
    starts = range(0, max(1, length - step // 2), step)
    return list(zip(starts, [*starts[1:], length], strict=True))
