"""The table of known cases in docs/metrics.md, computed again."""

from copy import copy
from pathlib import Path

import pytest
from known_cases import CASES, cases, hear, measure, page

from diffsynth.evaluation.notes import SCORES
from diffsynth.evaluation.registry import METRICS

FRAME = 1.01 / 376
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture(scope="module")
def pairs():
    return cases()


@pytest.fixture(scope="module")
def measured(pairs):
    return measure(pairs)


def rows(text):
    """By key, the cells of the rows that have one for each case."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {line[0].strip("`"): line[1:] for line in lines if len(line) == 3 + len(CASES)}


def last_digit(text):
    """What one more in the last digit of a number is; of 0 what may be left by rounding."""
    mantissa, _, exponent = text.partition("e")
    return 1e-5 if text == "0" else 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def close(text, value, key):
    """Whether a page has this value."""
    # Other processors round otherwise, and a share of 376 frames may gain or lose one.
    least = FRAME if METRICS[key].higher_is_better else 0.0
    return float(text) == pytest.approx(value, abs=max(2 * last_digit(text), least))


def test_the_page_has_these_cases_for_every_metric(measured):
    found = rows(PAGE.read_text())
    assert list(found)[2:] == [key for key, metric in METRICS.items() if not metric.of_image]
    assert found["key"][2:] == CASES


def test_the_page_has_the_values_that_come_out(measured):
    printed, found = rows(PAGE.read_text()), rows(page(measured))
    for key, values in measured.items():
        assert printed[key][:2] == found[key][:2], key  # unit and direction
        for case, text, value in zip(CASES, printed[key][2:], values, strict=True):
            assert close(text, value, key), (key, case, text, value)


def test_the_page_has_the_scores_of_notes_that_come_out(pairs):
    pytest.importorskip("transkun")
    printed = rows(PAGE.read_text())
    # Copies, because notes are kept in them; of two cases, because each takes seconds.
    heard = {case: copy(pairs[CASES.index(case)]) for case in ("identical", "another piano")}
    hear([*heard.values()])
    for case, pair in heard.items():
        for key in SCORES:
            text, value = printed[key][2 + CASES.index(case)], pair.notes.f1(key)
            # A note more or less of 39 may be heard.
            assert float(text) == pytest.approx(value, abs=0.04), (key, case)


def test_what_is_identical_is_perfect_and_what_is_softer_too_but_for_its_level(measured):
    for key, values in measured.items():
        identical, softer = values[:2]
        assert identical == METRICS[key].perfect, key
        expected = 3.0 if key == "level_difference_db" else METRICS[key].perfect
        assert softer == pytest.approx(expected, abs=1e-5), key


def test_numbers_have_a_last_digit():
    cases = {"0.972": 1e-3, "1.30": 1e-2, "14.4": 0.1, "2.22e-08": 1e-10, "0": 1e-5}
    assert {text: last_digit(text) for text in cases} == pytest.approx(cases)
