"""How likely a note begins at a moment, by the scores that a network gives to intervals.

Transkun scores every interval of frames of every key, and every step between two frames that no note fills.
A path is a row of intervals that do not overlap (one may begin in the frame where another ends), and steps
between them; its probability is proportional to the exponential of the sum of its scores (a semi-Markov
conditional random field, Yan, Cwitkowitz and Duan, "Skipping the frame-level", NeurIPS 2021). The most likely
path is what is written down. All paths together tell how sure that is.
"""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]


def onset_probabilities(score: Scores, skip: Scores) -> Scores:
    """Expected number of intervals that begin in each frame, for every key, 0 to 1 but for repeated ones.

    The forward and the backward sum of the logarithms of all paths, as in the paper.

    Args:
        score: [end, begin, key] of an interval; end and begin are frames, of which end is not the earlier.
        skip: [frame, key] of the step from a frame to the next without a note, one row fewer than frames.

    Returns:
        [frame, key].
    """
    frames = len(score)
    single = score[np.arange(frames), np.arange(frames)].astype(np.float64)
    both = np.logaddexp(0, single)  # without and with an interval of one frame
    before, after, begins = both.copy(), both.copy(), np.full(both.shape, -np.inf)
    for i in range(1, frames):
        ending = _log_sum(before[:i] + score[i, :i])
        before[i] += np.logaddexp(before[i - 1] + skip[i - 1], ending)
    for i in range(frames - 2, -1, -1):
        begins[i] = _log_sum(after[i + 1 :] + score[i + 1 :, i])
        after[i] += np.logaddexp(after[i + 1] + skip[i], begins[i])
    total = before[-1]
    longer = np.exp(before + begins - total)
    alone = np.exp(before + after - total + single - 2 * both)
    return (longer + alone).astype(np.float32)


def _log_sum(terms: NDArray[np.floating]) -> NDArray[np.floating]:
    """Logarithm of the sum of exponentials over the first axis."""
    highest = terms.max(axis=0)
    return highest + np.log(np.exp(terms - highest).sum(axis=0))
