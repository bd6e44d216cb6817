import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.midi.dampers import PEDAL_FALLS, PEDAL_RISES, Dampers
from diffsynth.midi.events import (
    CONTROL,
    KEYS,
    NOTE_OFF,
    NOTE_ON,
    SAMPLE_EVENT,
    SOSTENUTO,
    SUSTAIN,
    UNA_CORDA,
)


def on(key, velocity=80):
    return NOTE_ON, key, velocity


def off(key):
    return NOTE_OFF, key, 0


def pedal(number, value):
    return CONTROL, number, value


def play(dampers, *events):
    """What events do, each at the position of its place in the list, keys as MIDI numbers."""
    rows = np.array([(i, *event) for i, event in enumerate(events)], dtype=SAMPLE_EVENT)
    names = {"strike": "on", "damp": "off", "renew": "renew"}
    return [(p, names[w], k + 21, v) for p, w, k, v in dampers.actions(rows)]


SCENARIOS = {
    "finger": ([on(60, 90), off(60)], [(0, "on", 60, 90), (1, "off", 60, 0)]),
    "release without an onset": ([off(60)], []),
    "second release": ([on(60), off(60), off(60)], [(0, "on", 60, 80), (1, "off", 60, 0)]),
    "onset of velocity 0 is a release": ([on(60), on(60, 0)], [(0, "on", 60, 80), (1, "off", 60, 0)]),
    "onset of velocity 0 of a key that is up": ([on(60, 0)], []),
    "struck again while down": (
        [on(60, 50), on(60, 70), off(60)],
        [(0, "on", 60, 50), (1, "on", 60, 70), (2, "off", 60, 0)],
    ),
    "the ends of the keyboard": (
        [on(20), on(21), on(108), on(109), off(108), off(20), off(109)],
        [(1, "on", 21, 80), (2, "on", 108, 80), (4, "off", 108, 0)],
    ),
    "sustain holds until it is up": (
        [on(60), pedal(SUSTAIN, 127), off(60), pedal(SUSTAIN, 0)],
        [(0, "on", 60, 80), (3, "off", 60, 0)],
    ),
    "sustain up leaves the key to the finger": (
        [pedal(SUSTAIN, 127), on(60), pedal(SUSTAIN, 0), off(60)],
        [(1, "on", 60, 80), (3, "off", 60, 0)],
    ),
    "63 is up": (
        [on(60), pedal(SUSTAIN, 63), off(60)],
        [(0, "on", 60, 80), (2, "off", 60, 0)],
    ),
    "64 is down, and moving on it changes nothing": (
        [on(60), pedal(SUSTAIN, 64), off(60), pedal(SUSTAIN, 127), pedal(SUSTAIN, 64), pedal(SUSTAIN, 63)],
        [(0, "on", 60, 80), (5, "off", 60, 0)],
    ),
    "struck again under sustain": (
        [pedal(SUSTAIN, 127), on(60, 50), off(60), on(60, 70), pedal(SUSTAIN, 0), off(60)],
        [(1, "on", 60, 50), (3, "on", 60, 70), (5, "off", 60, 0)],
    ),
    "sustain lets all keys fall, the lowest first": (
        [pedal(SUSTAIN, 127), on(64), on(60), off(64), off(60), pedal(SUSTAIN, 0)],
        [(1, "on", 64, 80), (2, "on", 60, 80), (5, "off", 60, 0), (5, "off", 64, 0)],
    ),
    "sostenuto holds what it caught and nothing else": (
        [on(60), pedal(SOSTENUTO, 127), on(64), off(60), off(64), pedal(SOSTENUTO, 0)],
        [(0, "on", 60, 80), (2, "on", 64, 80), (4, "off", 64, 0), (5, "off", 60, 0)],
    ),
    "a caught key struck again stays caught": (
        [on(60), pedal(SOSTENUTO, 127), off(60), on(60), off(60), pedal(SOSTENUTO, 0)],
        [(0, "on", 60, 80), (3, "on", 60, 80), (5, "off", 60, 0)],
    ),
    "sostenuto catches what sustain holds": (
        [pedal(SUSTAIN, 99), on(60), off(60), pedal(SOSTENUTO, 99), pedal(SUSTAIN, 0), pedal(SOSTENUTO, 0)],
        [(1, "on", 60, 80), (5, "off", 60, 0)],
    ),
    "sustain holds what sostenuto lets go": (
        [on(60), pedal(SOSTENUTO, 99), off(60), pedal(SUSTAIN, 99), pedal(SOSTENUTO, 0), pedal(SUSTAIN, 0)],
        [(0, "on", 60, 80), (5, "off", 60, 0)],
    ),
    "sostenuto up leaves the key to the finger": (
        [on(60), pedal(SOSTENUTO, 127), pedal(SOSTENUTO, 0), off(60)],
        [(0, "on", 60, 80), (3, "off", 60, 0)],
    ),
    "una corda and unknown controllers hold nothing": (
        [on(60), pedal(UNA_CORDA, 127), pedal(1, 127), pedal(123, 0), off(60)],
        [(0, "on", 60, 80), (4, "off", 60, 0)],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name):
    events, expected = SCENARIOS[name]
    assert play(Dampers(), *events) == expected


RENEWALS = {
    "a finger on a later strike, pedal up": (
        [pedal(SUSTAIN, 127), on(60, 50), off(60), on(60, 70), on(64), pedal(SUSTAIN, 0), off(60)],
        [(5, "renew", 60, 0), (5, "renew", 64, 0)],
    ),
    "a finger on a key that is struck again": ([on(60, 50), on(60, 70), off(60)], [(1, "renew", 60, 0)]),
    "held by a pedal, a key struck again keeps both": ([pedal(SUSTAIN, 127), on(60), on(60)], []),
    "sostenuto holds what sustain lets go": (
        [on(60), pedal(SOSTENUTO, 127), pedal(SUSTAIN, 127), pedal(SUSTAIN, 0), pedal(SOSTENUTO, 0)],
        [(4, "renew", 60, 0)],
    ),
    "no finger on it": ([pedal(SUSTAIN, 127), on(60), off(60), on(60), off(60), pedal(SUSTAIN, 0)], []),
}


@pytest.mark.parametrize("name", RENEWALS)
def test_in_a_sampler_the_last_strike_alone_is_held(name):
    events, expected = RENEWALS[name]
    sampled, string = play(Dampers(sampled=True), *events), play(Dampers(), *events)
    assert [action for action in sampled if action[1] == "renew"] == expected
    assert [action for action in sampled if action[1] != "renew"] == string


def test_moves_of_the_sustain_pedal_are_strikes_where_they_are_heard():
    rows = [pedal(SUSTAIN, 20), pedal(SUSTAIN, 99), on(60), pedal(SOSTENUTO, 99), off(60)]
    rows += [pedal(SUSTAIN, 64), pedal(SUSTAIN, 63), pedal(SOSTENUTO, 0), pedal(SUSTAIN, 0)]
    falls, rises = (source + 21 for source in (PEDAL_FALLS, PEDAL_RISES))
    heard = play(Dampers(knocks=True), *rows)
    assert [action for action in heard if action[2] >= falls] == [(1, "on", falls, 64), (6, "on", rises, 64)]
    assert [action for action in heard if action[2] < falls] == play(Dampers(), *rows)


def test_pedals_are_known_by_position_and_unknown_controllers_are_not():
    dampers = Dampers()
    play(dampers, pedal(SUSTAIN, 12), pedal(SOSTENUTO, 34), pedal(UNA_CORDA, 56), pedal(7, 78))
    assert dampers.pedals == {SUSTAIN: 12, SOSTENUTO: 34, UNA_CORDA: 56}


EVENT_TUPLES = st.tuples(
    st.sampled_from([NOTE_OFF, CONTROL, NOTE_ON]),
    st.sampled_from([0, 20, 21, 22, 60, SUSTAIN, SOSTENUTO, UNA_CORDA, 108, 109, 255]),
    st.integers(0, 255),
)
ALL_UP = [pedal(SUSTAIN, 0), pedal(SOSTENUTO, 0), *(off(key) for key in range(21, 109))]


@given(st.lists(EVENT_TUPLES, max_size=60), st.permutations(ALL_UP[:2]))
def test_nothing_rings_once_fingers_and_pedals_are_up(events, pedals_up):
    dampers = Dampers()
    ringing = set()
    for _, what, key, velocity in play(dampers, *events, *ALL_UP[2:], *pedals_up):
        if what == "on":
            assert velocity > 0
            ringing.add(key)
        else:
            ringing.remove(key)  # a damper falls only on strings that ring
    assert ringing == set()
    assert not dampers.ringing.any()


@given(st.lists(EVENT_TUPLES, max_size=40), st.lists(EVENT_TUPLES, max_size=40))
def test_a_restored_state_replays_and_is_a_copy(before, after):
    dampers = Dampers()
    play(dampers, *before)
    state = dampers.state()
    first = play(dampers, *after)
    dampers.restore(state)
    assert play(dampers, *after) == first
    fresh = Dampers()
    fresh.restore(state)
    assert play(fresh, *after) == first


def test_reset_forgets_everything():
    dampers = Dampers()
    play(dampers, on(60), on(61), pedal(SOSTENUTO, 127), pedal(SUSTAIN, 127), off(60))
    dampers.reset()
    assert play(dampers, off(60), off(61), pedal(SUSTAIN, 0), on(60), off(60)) == [
        (3, "on", 60, 80),
        (4, "off", 60, 0),
    ]
    assert dampers.finger.shape == (KEYS,)
