import numpy as np
import pytest
from performance_statistics import occurrences, step_means, windows
from playing_coverage import collect, compare, joint_coverage, table

from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events

# Key 60 alone; 64 and 67 as a chord, released under a pedal that is pressed to the middle and then lifted
# slowly; 60 again.
EVENTS = make_events(
    [
        (0.0, NOTE_ON, 60, 50),
        (1.0, NOTE_OFF, 60, 0),
        (1.0, NOTE_ON, 64, 80),
        (1.02, NOTE_ON, 67, 60),
        (1.5, CONTROL, SUSTAIN, 64),
        (2.0, NOTE_OFF, 64, 0),
        (2.0, NOTE_OFF, 67, 0),
        (3.0, CONTROL, SUSTAIN, 40),
        (3.4, CONTROL, SUSTAIN, 0),
        (5.0, NOTE_ON, 60, 40),
        (8.0, NOTE_OFF, 60, 0),
    ]
)
WINDOWS = {
    "onset_rate": [3 / 4, 1 / 4],
    "sounding": [(1 + 2 + 1.98) / 4, 3 / 4],  # the damper of 64 and 67 falls at 3.0
    "sounding_peak": [2, 1],
    "held": [(1 + 1 + 0.98) / 4, 3 / 4],
    "pedal": [1.5 / 4, 0],
    "pedal_half": [1.9 / 4, 0],
    "pedal_changes": [1 / 4, 0],
    "silence": [2.98, 3.98],
    "velocity": [190 / 3, 40],
    "velocity_softest": [50, 40],
    "velocity_loudest": [80, 40],
    "key": [191 / 3, 60],
    "key_lowest": [60, 60],
    "key_highest": [67, 60],
    "chord_spread": [20, np.nan],
}
OCCURRENCES = {
    "pedal_hold": [1.5],
    "repetition": [5.0],
    "note_length": [1.0, 1.0, 0.98, 3.0],
    "gap": [1.0, 0.02, 3.98],
    "single_velocity": [50, 80, 60, 40],
    "single_key": [60, 64, 67, 60],
    "pedal_value": [64, 40, 0],
}


def test_windows_are_described_as_by_hand():
    result = windows(EVENTS, 4.0)
    assert result.keys() == WINDOWS.keys()
    for name, values in WINDOWS.items():
        np.testing.assert_allclose(result[name], values, atol=1e-12, err_msg=name)


def test_occurrences_are_described_as_by_hand():
    result = occurrences(EVENTS)
    assert result.keys() == OCCURRENCES.keys()
    for name, values in OCCURRENCES.items():
        np.testing.assert_allclose(result[name], values, atol=1e-12, err_msg=name)


def test_a_window_without_onsets_has_no_velocity_and_growing_silence():
    events = make_events([(1.0, NOTE_ON, 60, 50), (2.0, NOTE_OFF, 60, 0), (12.0, CONTROL, SUSTAIN, 0)])
    result = windows(events, 4.0)
    np.testing.assert_array_equal(result["velocity"], [50, np.nan, np.nan])
    np.testing.assert_array_equal(result["silence"], [3, 7, 11])
    np.testing.assert_array_equal(result["sounding"], [0.25, 0, 0])


def test_step_means_integrate_exactly():
    steps = (np.array([1.0, 2.5, 3.0]), np.array([4.0, 0.0, 2.0]))
    np.testing.assert_allclose(step_means(steps, np.array([0.0, 2.0, 3.0, 5.0])), [2.0, 2.0, 2.0])


def test_collect_joins_performances():
    of_windows, single = collect([EVENTS, EVENTS], 4.0)
    assert of_windows["velocity_softest"].tolist() == [50, 40, 50, 40]
    assert single["pedal_value"].tolist() == [64, 40, 0, 64, 40, 0]


def test_comparison_counts_real_values_between_percentiles_of_training():
    real = {"velocity": np.array([1.0, 1.5, 50.0, 99.0, np.nan])}
    training = {"velocity": np.append(np.arange(101.0), np.nan)}
    (row,) = compare(real, training)
    assert row.training == (1.0, 50.0, 99.0)
    assert row.real[1] == 25.75
    assert row.within == 1.0  # both ends count
    assert compare({"velocity": np.array([0.5, 50, 99.5, 100])}, training)[0].within == 0.25


def test_joint_coverage_needs_three_windows_of_training_in_the_cell():
    training = {
        "onset_rate": np.array([5.0, 6.0, 7.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
        "velocity": np.array([60.0, 55.0, 51.0, 60.0, 60.0, np.nan, np.nan, np.nan]),
    }
    names = ("onset_rate", "velocity")
    # In the cell of three; in that of two; in that of none; without onsets, which is a cell of its own.
    real = {"onset_rate": np.array([4.0, 1.9, 9.0, 0.0]), "velocity": np.array([64.0, 55.0, 60.0, np.nan])}
    assert joint_coverage(real, training, names) == 0.5
    assert joint_coverage(training, training, names) == pytest.approx(6 / 8)


def test_the_table_is_markdown():
    real, training = ({"velocity": np.arange(101.0)}, {"velocity": np.arange(202.0)})
    lines = table(compare(real, training), [(("onset_rate", "pedal"), 0.5)]).splitlines()
    assert lines[2] == "| velocity | 1 | 50 | 99 | 2.01 | 100 | 199 | 97.0% |"
    assert lines[-1] == "| onset rate x pedal | 50.0% |"
