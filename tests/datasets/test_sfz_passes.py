"""Performances that ask sfizz for more voices than it has are played in passes."""

import numpy as np
import pytest
from support.sfz import KEY, TONE, amplitude, needs_sfizz, note, render, tiny_sfz

from diffsynth.datasets.sfz import _with_silent_pedals
from diffsynth.midi.events import CONTROL, SUSTAIN

pytestmark = needs_sfizz


@pytest.fixture(scope="module")
def instrument(tmp_path_factory):
    return tiny_sfz(tmp_path_factory.mktemp("sfz") / "tiny")


def test_no_voice_is_ended_for_another(instrument):
    # 300 strikes under a pedal that rises, a third of them with the sound of a release each.
    pedal = [(0.0, CONTROL, SUSTAIN, 127), (0.9, CONTROL, SUSTAIN, 0)]
    strikes = {
        key: [row for i in range(100) for row in note(0.05 + 0.008 * i, 0.054 + 0.008 * i, key)]
        for key in (KEY, 70, 80)
    }
    together = render(instrument, *pedal, *(row for rows in strikes.values() for row in rows), gain=0.01)
    alone = [render(instrument, *pedal, *rows, gain=0.01) for rows in strikes.values()]
    expected, pedals = np.zeros_like(together), render(instrument, *pedal, gain=0.01)
    for audio, sign in [*((audio, 1) for audio in alone), (pedals, -1), (pedals, -1)]:
        expected[: len(audio)] += sign * audio
    np.testing.assert_allclose(together, expected, atol=1e-5)
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("opcode", ["on_{}cc64", "start_{}cc64", "on_{}hdcc64", "START_{}HDCC64"])
def test_regions_that_pedals_start_are_found_by_any_of_their_names(tmp_path, opcode):
    path = tmp_path / "one.sfz"
    path.write_text(
        f"<region> sample=a.wav key=60 {opcode.format('lo')}=1 {opcode.format('HI')}=127 locc64=0\n"
    )
    text = _with_silent_pedals(path, tmp_path / "silent.sfz").read_text()
    assert text.count("without_") == 2
    assert "locc64=0" in text


def test_an_instrument_behind_a_link_is_played_in_passes_too(instrument, tmp_path):
    other = tiny_sfz(tmp_path / "other")
    (other.parent / "rest.txt").write_text(other.read_text())
    other.write_text('#include "rest.txt"\n')
    (link := tmp_path / "link.sfz").symlink_to(other)
    rows = [
        row for i in range(100) for key in (KEY, 70, 80) for row in note(0.008 * i, 0.008 * i + 0.004, key)
    ]
    pedal = [(0.0, CONTROL, SUSTAIN, 127), (0.9, CONTROL, SUSTAIN, 0)]
    audio = render(link, *pedal, *rows, gain=0.01)
    np.testing.assert_array_equal(audio, render(instrument, *pedal, *rows, gain=0.01))


def test_a_key_with_more_strikes_than_sfizz_has_voices_is_played_all_the_same(instrument):
    # Four periods of the tone apart, so that all of them add up.
    rows = [row for i in range(300) for row in note(i * 4 / TONE, i * 4 / TONE + 0.004)]
    audio = render(instrument, (0.0, CONTROL, SUSTAIN, 127), *rows, gain=0.01)
    assert amplitude(audio[:, 0], TONE, 2.5, 2.7) > 0.1
