"""Performances that FluidSynth renders."""

import numpy as np
import pytest
import soundfile
from support.fluidsynth import SOUNDFONT, needs_fluidsynth
from support.source_files import QUIET, dataset

from diffsynth.datasets.composer.corpus import generated_jobs
from diffsynth.datasets.manifest import verify
from diffsynth.datasets.registry import bring
from diffsynth.datasets.rendered import midi_jobs
from diffsynth.errors import UserError
from diffsynth.midi.events import NOTE_ON, make_events, to_notes
from diffsynth.midi.files import read_midi, write_midi

SHARES = 0.1, 0.1, 0  # of validation and test, and the seed


@needs_fluidsynth
def test_the_generator_is_rendered_to_the_length_asked_for(tmp_path):
    asked = dataset(name="rendered", minutes=0.6, seed=4, instrument=str(SOUNDFONT))
    manifest = bring(asked, tmp_path / "raw", QUIET)
    assert {p.split for p in manifest.performances} == {"train", "validation", "test"}
    assert sum(p.duration for p in manifest.performances) / 60 == pytest.approx(0.6, abs=0.05)
    verify(tmp_path / "raw", manifest)
    assert bring(asked, tmp_path / "raw", QUIET) == manifest


def test_more_minutes_add_performances_and_change_none():
    short = {job.name: job for job in generated_jobs(12, *SHARES)}
    long = {job.name: job for job in generated_jobs(20, *SHARES)}
    assert {"keys_000", "music_00000"} < set(short)
    assert short.keys() < long.keys()
    for name, job in short.items():
        assert np.array_equal(job.events, long[name].events)
    seconds = sum(float(job.events["time"].max()) + 2 for job in long.values())
    assert seconds / 60 == pytest.approx(20, abs=1.5)


@needs_fluidsynth
def test_midi_files_are_rendered_with_exact_labels(tmp_path):
    root = tmp_path / "midi"
    (root / "deep").mkdir(parents=True)
    for name, key in (("a", 60), ("deep/b c", 64), ("d", 67)):
        write_midi(root / f"{name}.mid", make_events([(0.1234567, NOTE_ON, key, 80), (0.5, 0, key, 0)]))
    (root / "broken.midi").write_bytes(b"MThd")
    asked = dataset(name="rendered", root=str(root), instrument=str(SOUNDFONT))
    manifest = bring(asked, tmp_path / "raw", QUIET)
    assert [p.name for p in manifest.performances] == ["a", "d", "deep_b_c"]
    assert [item.name for item in manifest.set_aside] == ["broken"]
    onset = to_notes(read_midi(tmp_path / "raw" / "a.mid"))["onset"][0]
    samples, rate = soundfile.read(tmp_path / "raw" / "a.flac")
    assert onset == pytest.approx(93 * 64 / 48000, abs=1e-9)  # 0.1234567 s is 92.6 ticks
    assert np.flatnonzero(samples.any(axis=1))[0] / rate == pytest.approx(onset, abs=0.001)


@pytest.mark.parametrize("minutes", [0, -1, 0.4])
def test_too_few_minutes(minutes):
    with pytest.raises(UserError, match=r"at least 0\.5"):
        generated_jobs(minutes, *SHARES)


@needs_fluidsynth
def test_a_missing_soundfont_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="does not exist: apt install"):
        bring(dataset(name="rendered", instrument=str(tmp_path / "x.sf2")), tmp_path / "raw")
    assert list(tmp_path.iterdir()) == []


def test_what_a_damaged_midi_file_lacks_is_said_once(tmp_path):
    path, said = tmp_path / "x.mid", []
    write_midi(path, make_events([(0.1, NOTE_ON, 60, 80), (0.5, 0, 60, 0), (1.0, NOTE_ON, 62, 80)]))
    path.write_bytes(path.read_bytes()[:-6])
    jobs, set_aside = midi_jobs(tmp_path, tmp_path / "raw", *SHARES, said.append)
    assert (len(jobs), set_aside) == (1, [])
    assert said == [f"{path}: track 1 is cut short"]


def test_a_file_that_lasts_for_years_is_set_aside(tmp_path):
    write_midi(tmp_path / "short.mid", make_events([(0.1, NOTE_ON, 60, 80), (0.5, 0, 60, 0)]))
    track = b"\x00\x90\x3c\x50\xff\xff\xff\x7f\x80\x3c\x00\x00\xff\x2f\x00"
    header = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x01"
    (tmp_path / "long.mid").write_bytes(header + b"MTrk" + len(track).to_bytes(4, "big") + track)
    jobs, set_aside = midi_jobs(tmp_path, tmp_path / "raw", *SHARES)
    assert [job.name for job in jobs] == ["short"]
    assert [item.name for item in set_aside] == ["long"]
    assert "it lasts 37283 hours" in set_aside[0].reason
