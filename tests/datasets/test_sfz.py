"""sfizz, played for real: a tiny instrument whose samples are known."""

import dataclasses
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.sfz import (
    LEVEL,
    PEDAL,
    RATE,
    RELEASE,
    TONE,
    amplitude,
    needs_sfizz,
    note,
    render,
    sine,
    tiny_sfz,
)
from support.source_files import QUIET, dataset

from diffsynth.audio.files import read_audio
from diffsynth.datasets import sfz as sfz_module
from diffsynth.datasets.composer.generator import generate
from diffsynth.datasets.instrument import Instrument
from diffsynth.datasets.manifest import verify
from diffsynth.datasets.registry import bring
from diffsynth.datasets.rendered import Job, render_all
from diffsynth.datasets.sfz import check_sfz, render_sfz
from diffsynth.datasets.sfz_player import TAIL
from diffsynth.datasets.source import Means
from diffsynth.errors import UserError
from diffsynth.midi.events import (
    CONTROL,
    SOSTENUTO,
    SUSTAIN,
    UNA_CORDA,
    make_events,
    to_notes,
)
from diffsynth.midi.files import read_midi, write_midi

pytestmark = needs_sfizz


@pytest.fixture(scope="module")
def instrument(tmp_path_factory):
    return tiny_sfz(tmp_path_factory.mktemp("sfz") / "tiny")


def tone(audio, start, stop, frequency=TONE, rate=RATE):
    return amplitude(audio[:, 0], frequency, start, stop, rate)


@pytest.mark.parametrize("rate", [24000, 44100, 48000, 96000])
def test_a_held_note_is_the_plain_sample_to_its_end(instrument, rate):
    audio = render(instrument, *note(0.5, 5.8), rate=rate)
    for start in (0.0, 0.15, 0.3, 1.0, 3.0, 5.0):  # sfizz cut streamed samples short at .2 s
        there = 0.5 * np.exp(-(start + 0.05) / 4.0)  # of the sample, in the middle of .1 s
        found = tone(audio, 0.5 + start, 0.6 + start, rate=rate)
        assert found == pytest.approx(LEVEL * there, rel=0.01)
    first = int(np.flatnonzero(np.abs(audio[:, 0]) > 0.3 * LEVEL * 0.5)[0])
    assert abs(first - 0.5 * rate) <= 1
    assert np.abs(audio[: int(0.5 * rate) - 40]).max() < 2e-4


@pytest.mark.parametrize("position", [1, 63, 64, 4799, 12345])
def test_onset_and_release_are_where_the_label_is(instrument, position):
    end = position + 4800
    audio = render(instrument, *note(position / RATE, end / RATE))[:, 0]
    plain = LEVEL * sine(TONE, 0.1, 4.0)
    # From the second block of a voice on sfizz is one sample late.
    lags = {
        lag: np.abs(audio[position + 200 + lag : end - 10][:4000] - plain[200:4200]).max()
        for lag in (-1, 0, 1, 2)
    }
    assert min(lags, key=lags.get) == 1
    assert lags[1] < 0.01 * LEVEL
    assert not audio[: position - 40].any() if position > 40 else True
    before, after = audio[end - 1], audio[end]
    assert after - before == pytest.approx(
        0.5 * LEVEL, abs=0.05 * LEVEL
    )  # the release sample begins with a step


def test_both_channels_and_the_gain(instrument):
    audio = render(instrument, *note(0.1, 0.9, 70))
    left, right = (amplitude(audio[:, side], TONE * 2 ** (1 / 12), 0.3, 0.6) for side in (0, 1))
    assert left == pytest.approx(0.5 * LEVEL, rel=0.01)
    assert right == pytest.approx(0.25 * left, rel=0.01)
    np.testing.assert_allclose(render(instrument, *note(0.1, 0.9, 70), gain=3.0), 3.0 * audio, rtol=1e-5)


def test_what_lies_above_half_the_rate_is_not_mirrored(instrument):
    audio = render(instrument, *note(0.1, 0.9, 80), rate=24000)
    assert amplitude(render(instrument, *note(0.1, 0.9, 80))[:, 0], 15000.0, 0.3, 0.6) > 0.1
    assert amplitude(audio[:, 0], 24000 - 15000.0, 0.3, 0.6, 24000) < 1e-4


@pytest.mark.parametrize(
    ("controls", "until"),
    [
        ([], 0.5),
        ([(0.3, SUSTAIN, 100), (2.0, SUSTAIN, 0)], 2.0),
        ([(0.3, SUSTAIN, 40), (2.0, SUSTAIN, 0)], 0.5),
        ([(0.3, SOSTENUTO, 127), (2.0, SOSTENUTO, 0)], 2.0),
        ([(0.05, SOSTENUTO, 127), (2.0, SOSTENUTO, 0)], 0.5),
    ],
)
def test_pedals_hold_a_released_note_until_they_are_lifted(instrument, controls, until):
    moves = [(at, CONTROL, pedal, value) for at, pedal, value in controls]
    audio = render(instrument, *note(0.1, 0.5), *moves)
    before, after = tone(audio, until - 0.1, until), tone(audio, until + 0.1, until + 0.2)
    assert before == pytest.approx(LEVEL * 0.5 * np.exp(-(until - 0.15) / 4.0), rel=0.02)
    assert after < 1e-3 * before
    # The release sample is heard when the damper falls, neither before nor after.
    assert tone(audio, until + 0.05, until + 0.15, RELEASE) == pytest.approx(0.5 * LEVEL, rel=0.02)
    assert tone(audio, until - 0.15, until - 0.05, RELEASE) < 1e-3
    assert tone(audio, until + 0.25, until + 0.35, RELEASE) < 1e-3


def test_una_corda_is_passed_on(instrument):
    soft = render(instrument, (0.0, CONTROL, UNA_CORDA, 127), *note(0.1, 0.5))
    ratio = tone(soft, 0.2, 0.4) / tone(render(instrument, *note(0.1, 0.5)), 0.2, 0.4)
    assert 20 * np.log10(ratio) == pytest.approx(-6.0, abs=0.1)


def test_the_noise_of_the_pedal_is_heard_once_for_a_movement(instrument):
    told = [(at, CONTROL, SUSTAIN, 127) for at in (0.5, 0.6, 0.7)]  # pressed once, and told three times
    audio = render(instrument, *note(0.0, 0.1), *told)[:, 0]
    assert amplitude(audio, PEDAL, 0.5, 0.7) == pytest.approx(0.5 * LEVEL, rel=0.02)
    assert amplitude(audio, PEDAL, 0.72, 0.9) < 1e-3


def test_it_sounds_until_everything_has_died_away(instrument):
    short, held = (
        render(instrument, *note(0.0, 0.1)),
        render(instrument, *note(0.0, 0.1), (0.05, CONTROL, SUSTAIN, 127)),
    )
    assert len(short) / RATE == pytest.approx(0.1 + TAIL, abs=0.01)
    assert len(held) / RATE == pytest.approx(6.0, abs=0.1)  # as long as the sample


def test_chance_is_the_same_in_every_process(instrument, tmp_path):
    events = make_events(sorted(row for i in range(12) for row in note(0.2 * i, 0.2 * i + 0.1, 90)))
    first, again = render_sfz(events, instrument), render_sfz(events, instrument)
    assert np.array_equal(first, again)
    drawn = [amplitude(first[:, 0], TONE, 0.2 * i, 0.2 * i + 0.09, 24000) > 0.01 for i in range(12)]
    assert len(set(drawn)) == 2  # both samples occur
    jobs = [Job(f"m{i}", "train", generate(i, 3), "") for i in range(3)]
    results = []
    for workers in (1, 2):
        (folder := tmp_path / str(workers)).mkdir()
        results.append(
            render_all(jobs, folder, Instrument(str(instrument), 0, RATE), workers, progress=False)
        )
    assert results[0] == results[1]  # with SHA-256 of every file


def test_labels_are_exact_to_the_sample(instrument, tmp_path):
    write_midi(tmp_path / "midi" / "a.mid", make_events(note(0.1234567, 0.5)), 24000)
    asked = dataset(name="rendered", root=str(tmp_path / "midi"), instrument=str(instrument), gain=1.0)
    manifest = bring(asked, tmp_path / "raw", QUIET)
    verify(tmp_path / "raw", manifest)
    assert [p.name for p in manifest.performances] == ["a"]
    onset = float(to_notes(read_midi(tmp_path / "raw" / "a.mid"))["onset"][0])
    assert onset * RATE == pytest.approx(round(0.1234567 * RATE), abs=1e-6)
    audio, rate = read_audio(tmp_path / "raw" / "a.flac")
    assert (rate, soundfile.info(tmp_path / "raw" / "a.flac").channels) == (RATE, 2)
    first = int(np.flatnonzero(np.abs(audio) > 0.3 * LEVEL * 0.5)[0])
    assert abs(first - round(onset * RATE)) <= 1


def test_a_pause_of_hours_is_kept(tmp_path, instrument):
    piano = Instrument(str(instrument))
    events = piano.snap(make_events([*note(0.1, 0.5), *note(9000.0, 9000.5)]))
    piano.write_midi(tmp_path / "x.mid", events)
    np.testing.assert_allclose(read_midi(tmp_path / "x.mid")["time"], events["time"], atol=1e-6)


def test_an_interrupted_run_goes_on(instrument, tmp_path, monkeypatch):
    for name in "abc":
        write_midi(tmp_path / "midi" / f"{name}.mid", make_events(note(0.1, 0.5)))
    asked = dataset(name="rendered", root=str(tmp_path / "midi"), instrument=str(instrument))
    whole = bring(asked, tmp_path / "whole", QUIET)
    played, play = [], Instrument.play

    def interrupted(self, events):
        if len(played) == 2:
            raise KeyboardInterrupt
        played.append(1)
        return play(self, events)

    monkeypatch.setattr(Instrument, "play", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bring(asked, tmp_path / "raw", QUIET)
    assert not (tmp_path / "raw").exists()
    played[:] = [1]  # one more is allowed
    assert bring(asked, tmp_path / "raw", QUIET) == whole
    played.clear()
    louder = dataclasses.replace(asked, gain=0.3)
    with pytest.raises(KeyboardInterrupt):  # nothing is taken over from another gain
        bring(louder, tmp_path / "raw", QUIET)
    assert {p.name for p in (tmp_path / "raw").iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}


# instruments that are not as they should be


def test_clipping_is_counted(instrument, tmp_path):
    jobs = [Job("m", "train", make_events(note(0.1, 0.5)))]
    loud = render_all(jobs, tmp_path, Instrument(str(instrument), 0, RATE, 10.0), progress=False)
    assert loud[0].clipped > 1000


def test_an_instrument_elsewhere_with_includes_and_missing_samples(instrument, tmp_path):
    shutil.copytree(instrument.parent / "samples", tmp_path / "samples")
    deep = tmp_path / "piano" / "maps"
    deep.mkdir(parents=True)
    (deep / "part.txt").write_text("<region> sample=tone.$EXT key=$KEY // <region> in a comment\n")
    (deep / "a b.sfz").write_text(
        "#define $EXT flac\n#define $KEY 69\n<control> default_path=../../samples/\n<global> amp_veltrack=0\n"
        '#include "part.txt"\n<region> sample=none.wav key=70\n<region> sample=tone.mp3 key=71\n'
    )
    (tmp_path / "samples" / "tone.mp3").write_bytes(b"no sound")
    before = sorted(deep.iterdir())
    audio = render(deep / "a b.sfz", *note(0.0, 3.5))
    assert tone(audio, 3.0, 3.1) == pytest.approx(LEVEL * 0.5 * np.exp(-3.05 / 4.0), rel=0.01)
    lines = check_sfz(deep / "a b.sfz")
    assert len(lines) == 1
    assert "a b.sfz: 2 of 3 regions are not played" in lines[0]
    assert check_sfz(instrument) == []
    said = []
    write_midi(tmp_path / "midi" / "a.mid", make_events(note(0.1, 0.5)))
    asked = dataset(name="rendered", root=str(tmp_path / "midi"), instrument=str(deep / "a b.sfz"))
    bring(asked, tmp_path / "raw", Means(progress=False, say=said.append))
    assert said == lines
    assert sorted(deep.iterdir()) == before


@pytest.mark.parametrize("content", ["", "no instrument", "<region> sample=none.wav key=60\n"])
def test_what_plays_nothing_is_refused(tmp_path, content):
    (tmp_path / "x.sfz").write_text(content)
    with pytest.raises(UserError, match=r"x\.sfz is not a readable SFZ, or none of its samples can be read"):
        check_sfz(tmp_path / "x.sfz")


def test_a_missing_instrument_leaves_nothing(tmp_path):
    asked = dataset(name="rendered", instrument=str(tmp_path / "x.SFZ"))
    with pytest.raises(UserError, match=r"instrument .*x\.SFZ does not exist: set dataset\.instrument"):
        bring(asked, tmp_path / "raw")
    assert list(tmp_path.iterdir()) == []


def test_a_player_that_is_killed_or_fails_is_one_clear_line(tmp_path, instrument, monkeypatch):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sfz_module.sys, "executable", str(program))
    with pytest.raises(UserError, match=f"ended by signal {int(signal.SIGKILL)} .*try fewer --workers"):
        check_sfz(instrument)
    program.write_text("#!/bin/sh\necho ImportError: no symbol >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"tiny\.sfz cannot be played: ImportError: no symbol"):
        check_sfz(instrument)
    assert os.path.exists(instrument)


def test_without_sfizz_the_message_names_the_extra(monkeypatch, instrument):
    monkeypatch.setattr(sfz_module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"playing an SFZ needs sfizz: pip install 'diffsynth-piano\[sfz\]'"):
        render_sfz(make_events(note(0.1, 0.5)), Path(instrument))
