"""Probabilities of onsets, against all paths one by one, and against Transkun's own derivative."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.transcription.intervals import onset_probabilities


def paths(score, skip, frame=0):
    """All rows of intervals from a frame on, of one key, with the logarithm of their weight."""
    for alone in (False, True):
        own = [(frame, frame)] if alone else []
        weight = score[frame, frame] if alone else 0.0
        if frame == len(score) - 1:
            yield own, weight
            continue
        for rest, more in paths(score, skip, frame + 1):
            yield own + rest, weight + skip[frame] + more
        for end in range(frame + 1, len(score)):
            for rest, more in paths(score, skip, end):
                yield [*own, (frame, end), *rest], weight + score[end, frame] + more


def expected(score, skip):
    """Expected number of intervals that begin in each frame."""
    every = list(paths(score, skip))
    weight = np.exp([log for _, log in every])
    result = np.zeros(len(score))
    for (intervals, _), share in zip(every, weight / weight.sum(), strict=True):
        for begin, _ in intervals:
            result[begin] += share
    return result


@given(st.integers(0, 2**32 - 1), st.floats(0, 6))
def test_the_sum_over_all_paths_is_that_of_paths_one_by_one(seed, spread):
    rng = np.random.default_rng(seed)
    score, skip = (spread * rng.standard_normal((n, *rest)) for n, *rest in ((4, 4, 2), (3, 2)))
    found = onset_probabilities(score, skip)
    for key in range(2):
        np.testing.assert_allclose(found[:, key], expected(score[..., key], skip[..., key]), atol=1e-5)


def test_a_certain_note_is_certain_and_no_other():
    score, skip = np.full((6, 6, 1), -30, "f4"), np.zeros((5, 1), "f4")
    score[4, 1] = 30
    np.testing.assert_allclose(onset_probabilities(score, skip)[:, 0], [0, 1, 0, 0, 0, 0], atol=1e-6)


def test_it_is_the_derivative_that_transkun_learns_by():
    crf = pytest.importorskip("transkun.CRF.NeuralSemiCRFInterval")
    import torch

    rng = np.random.default_rng(3)
    score, skip = rng.normal(0, 3, (40, 40, 5)).astype("f4"), rng.normal(0, 3, (39, 5)).astype("f4")
    _, gradient, _ = crf.forward_backward(torch.from_numpy(score), torch.from_numpy(skip))
    found = onset_probabilities(score, skip)
    np.testing.assert_allclose(found, gradient.numpy().sum(axis=0), rtol=1e-3, atol=1e-4)
