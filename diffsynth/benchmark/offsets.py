"""By how much a rendering is later than a recording: recordings and programs begin when they like.

The delay is one for a whole performance. It is where the curves of attacks of both (rises of energy, summed
over bands) correlate best, between its moments by a parabola.
"""

import numpy as np

from diffsynth.alignment.onsets import attack_curve
from diffsynth.audio.files import Audio


def offset(recording: Audio, rendering: Audio, rate: int, most: float) -> float:
    """Seconds by which a rendering is later than the recording; below 0 it is earlier.

    Args:
        recording: samples, [time].
        rendering: likewise.
        rate: of both, Hz.
        most: the largest delay that is looked for, s; 0: none is.
    """
    length = min(len(recording), len(rendering))
    if not most or length < rate * most:
        return 0.0
    first, step = attack_curve(recording[:length], rate)
    second, _ = attack_curve(rendering[:length], rate)
    first, second = first - first.mean(), second - second.mean()
    reach = max(1, round(most / step))
    found = np.array([_product(first, second, lag) for lag in range(-reach, reach + 1)])
    best = int(found.argmax())
    if found[best] <= 0:
        return 0.0
    return float(np.clip((best - reach + _between(found, best)) * step, -most, most))


def _product(first: Audio, second: Audio, lag: int) -> float:
    """Of two curves, the second moved back by `lag` moments."""
    count = len(first) - abs(lag)
    early, late = max(0, -lag), max(0, lag)
    return float(np.dot(first[early : early + count], second[late : late + count]))


def _between(values: np.ndarray, at: int) -> float:
    """Where the parabola through a highest value and its neighbours is highest, beside it."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = values[at - 1 : at + 2]
    bend = before - 2 * here + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0
