"""The embedded demo data."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile
from support.source_files import DEMO, dataset

from diffsynth.datasets.demo import GRAND, LICENSE, demo_jobs
from diffsynth.datasets.instrument import Instrument
from diffsynth.datasets.manifest import read_manifest, verify
from diffsynth.datasets.registry import bring
from diffsynth.datasets.sources.demo import Demo
from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, to_notes
from diffsynth.midi.files import read_midi


def test_the_committed_demo_is_what_its_manifest_says():
    manifest = read_manifest(DEMO)
    verify(DEMO, manifest)
    seconds = Counter()
    for p in manifest.performances:
        seconds[p.split] += p.duration
        assert p.clipped == 0
        assert soundfile.info(DEMO / p.audio).samplerate == 24000
        assert soundfile.info(DEMO / p.audio).channels == 1
    assert sum(seconds.values()) > 600
    assert 50 < seconds["validation"] < 90
    assert 70 < seconds["test"] < 95
    listed = {p.midi for p in manifest.performances} | {p.audio for p in manifest.performances}
    assert {file.name for file in DEMO.iterdir()} == listed | {"manifest.json", "LICENSE.md"}
    assert sum(file.stat().st_size for file in DEMO.iterdir()) < 25e6
    assert (DEMO / "LICENSE.md").read_text(encoding="utf8") == LICENSE
    assert "recorded by\nAlexander Holm" in LICENSE
    assert "https://creativecommons.org/licenses/by/3.0/" in LICENSE


def test_the_demo_midi_is_what_the_generator_and_the_scores_give_now():
    jobs = demo_jobs()
    manifest = read_manifest(DEMO)
    assert [(j.name, j.split, j.title) for j in jobs] == [
        (p.name, p.split, p.title) for p in manifest.performances
    ]
    for job in jobs:
        expected, committed = Instrument(GRAND).snap(job.events), read_midi(DEMO / f"{job.name}.mid")
        assert len(committed) == len(expected)
        np.testing.assert_allclose(committed["time"], expected["time"], atol=1e-9)


def test_the_demo_covers_the_keyboard_the_velocities_and_the_pedals_in_training():
    train = [read_midi(DEMO / p.midi) for p in read_manifest(DEMO).performances if p.split == "train"]
    notes = np.concatenate([to_notes(events) for events in train])
    assert set(notes["key"].tolist()) == set(range(21, 109))
    assert set(notes["velocity"].tolist()) == set(range(15, 121))
    controls = np.concatenate([events[events["kind"] == CONTROL] for events in train])
    assert set(controls["number"].tolist()) == {64, 66, 67}


def test_audio_of_the_demo_starts_with_its_first_note():
    for p in read_manifest(DEMO).performances:
        onset = to_notes(read_midi(DEMO / p.midi))["onset"][0]
        samples, rate = soundfile.read(DEMO / p.audio)
        first = np.flatnonzero(np.abs(samples) > 1.5 / 32768)[0] / rate
        assert -0.001 < first - onset < 0.012  # a hammer takes its time in the recordings


def test_bring_demo_copies_it_with_its_licence(tmp_path):
    manifest = bring(dataset(name="demo"), tmp_path / "raw")
    assert manifest == read_manifest(tmp_path / "raw")
    verify(tmp_path / "raw", manifest)
    assert (tmp_path / "raw" / "LICENSE.md").is_file()
    bring(dataset(name="demo"), tmp_path / "raw")  # over itself
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("damage", ["missing", "changed", "duration"])
def test_a_damaged_demo_is_refused_and_leaves_nothing(tmp_path, monkeypatch, damage):
    demo, name = tmp_path / "demo", "satie_gymnopedie_1"
    shutil.copytree(DEMO, demo)
    monkeypatch.setattr(Demo, "folder", demo)
    if damage == "missing":
        (demo / f"{name}.mid").unlink()
    elif damage == "changed":
        with open(demo / f"{name}.flac", "r+b") as file:
            file.seek(20000)
            file.write(b"\x00\x01\x02")
    else:
        tree = json.loads((demo / "manifest.json").read_text())
        tree["performances"][0]["duration"] += 1
        (demo / "manifest.json").write_text(json.dumps(tree))
    problem = {"missing": "is missing", "changed": "damaged or changed", "duration": "does not last"}[damage]
    with pytest.raises(UserError, match=problem):
        bring(dataset(name="demo"), tmp_path / "raw")
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
