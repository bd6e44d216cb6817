"""What is heard in windows that overlap, put together."""

from types import SimpleNamespace

import numpy as np
import pytest

from diffsynth.transcription.windows import EDGE, Joined, Onsets


def note(start, end, pitch=60, has_onset=True, has_offset=True):
    return SimpleNamespace(start=start, end=end, pitch=pitch, hasOnset=has_onset, hasOffset=has_offset)


def rows(notes):
    return [(each.start, each.end, each.pitch) for each in notes]


def test_notes_of_windows_are_joined():
    pytest.importorskip("transkun")
    joined = Joined()
    joined.add([note(-0.5, 1.0), note(2.0, 8.0, has_offset=False), note(5.0, 6.0, 62)], 0.0)
    # The first goes on; of another pitch one is heard again, with its onset, and another without is none.
    joined.add([note(0.0, 1.5, has_onset=False), note(1.1, 2.5, 62), note(3.0, 4.0, 64, False)], 4.0)
    assert rows(joined.finished()) == [(0, 1.0, 60), (2.0, 8.0, 60), (5.1, 6.5, 62)]


def test_where_windows_overlap_an_onset_has_their_mean():
    onsets, edge = Onsets([60, 61], frame=0.02), np.ones((EDGE, 2), "f4")  # what begins before is no onset
    onsets.add(np.array([*edge, [0.9, 0.0], [0.8, 0.0], [0.2, 0.4]], "f4"), -0.02 * (1 + EDGE))
    onsets.add(np.array([*edge, [0.6, 0.2], [0.0, 0.0]], "f4"), 0.02 - 0.02 * EDGE)
    # Time 0: (.8, 0); .02 s: the mean of (.2, .4) and (.6, .2); .04 s: 0.
    assert onsets.elsewhere([], []) == pytest.approx(1.5)
    assert onsets.elsewhere([0.021], [60]) == pytest.approx(0.3)
    assert onsets.elsewhere([0.2], [60]) == pytest.approx(1.5)
    assert onsets.near(0.021, 61) == pytest.approx(0.3)
    assert onsets.near(0.0, 60) == 1.0  # within 50 ms are both, and a probability is not above 1
    assert onsets.near(0.2, 60) == 0.0
