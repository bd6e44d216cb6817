"""Segments of a performance are measured as it is."""

import numpy as np
import pytest
from support.formula_signals import CONFIG, RATE, melody, noise

from diffsynth.evaluation.pair import Pair
from diffsynth.evaluation.registry import evaluate_pair
from diffsynth.evaluation.segments import evaluate_segments, segment_edges

pytestmark = pytest.mark.usefixtures("without_extras")


@pytest.mark.parametrize(
    ("seconds", "edges"),
    [
        (0.01, [(0, 1)]),
        (5, [(0, 500)]),
        (7.4, [(0, 740)]),
        (7.6, [(0, 500), (500, 760)]),
        (10, [(0, 500), (500, 1000)]),
        (12.4, [(0, 500), (500, 1240)]),
    ],
)
def test_segments_cover_all_and_none_is_less_than_half(seconds, edges):
    assert segment_edges(round(100 * seconds), 100) == edges


def test_a_segment_is_measured_like_a_performance():
    target, prediction = (np.concatenate([melody(seed) for seed in seeds]) for seeds in ((1, 2), (1, 3)))
    found = evaluate_segments(Pair(target, prediction, RATE, CONFIG), 2.0)
    half = len(target) // 2
    scale = np.sqrt(np.square(target).mean() / np.square(prediction).mean())
    first = evaluate_pair(target[:half], prediction[:half], RATE, CONFIG)
    assert {len(values) for values in found.values()} == {2}
    for key in ("onset_f1", "pitch_accuracy"):  # which levels do not change
        assert found[key][0] == pytest.approx(first[key], abs=1e-6), key
    # The level is that of the whole: a first half that is equal but for it is not made equal.
    assert found["l1"][0] == pytest.approx(np.abs(target[:half] * (1 - scale)).mean(), rel=1e-4)
    assert found["l1"][1] > 3 * found["l1"][0]


def test_means_over_samples_are_means_over_segments():
    target = melody(4)
    prediction = target + noise() / 10
    pair = Pair(target, prediction, RATE, CONFIG)
    found = evaluate_segments(pair, 0.5)
    assert np.mean(found["l2"]) == pytest.approx(np.square(pair.difference).mean(), rel=1e-6)
    assert found["level_difference_db"][0] == pytest.approx(
        abs(20 * np.log10(*_rms_ratio(pair.target[: RATE // 2], pair.raw[: RATE // 2]))), rel=1e-3
    )


def _rms_ratio(first, second):
    return [np.sqrt(np.square(first, dtype="f8").mean() / np.square(second, dtype="f8").mean())]
