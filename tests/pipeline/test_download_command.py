"""`diffsynth download`."""

import numpy as np
import pytest
import soundfile
from support.fluidsynth import SOUNDFONT, needs_fluidsynth
from support.source_files import ROOT, write_pair

from diffsynth.audio.files import read_audio
from diffsynth.datasets.manifest import read_manifest
from diffsynth.datasets.soundfont import render_soundfont
from diffsynth.midi.files import read_midi
from pipeline.app import main


def command(*arguments):
    with pytest.raises(SystemExit) as end:
        main(["download", *map(str, arguments)])
    return end.value.code


def test_download_says_what_it_brought_and_what_it_set_aside(tmp_path, capsys):
    root, out = tmp_path / "music", tmp_path / "raw"
    root.mkdir()
    for name in "abc":
        write_pair(root, name, seconds=20)
    soundfile.write(root / "c.wav", np.ones(22050 * 20), 22050)
    (root / "d.mid").write_text("no MIDI")
    options = ("--params", ROOT / "params.yaml", "--name", "folder", "--root", root, "--out", out)
    assert command(*options) == 0
    shown = capsys.readouterr()
    assert "folder, 3 performances, 1.0 min (1 train, 1 validation, 1 test), 1 set aside" in shown.out
    assert "set aside: d: no audio file of this name" in shown.err
    assert "clipped: c: 440999 samples" in shown.err
    assert len(read_manifest(out).performances) == 3


@needs_fluidsynth
def test_download_renders_with_the_program_asked_for(tmp_path, capsys):
    asked = ("--params", ROOT / "params.yaml", "--name", "rendered", "--minutes", "0.5", "--workers", "1")
    assert (
        command(*asked, "--soundfont", SOUNDFONT, "--out", tmp_path / "a", "--program", "6", "--gain", "0.3")
        == 0
    )
    assert command(*asked, "--soundfont", SOUNDFONT, "--out", tmp_path / "b", "--program", "200") == 2
    assert "has no program 200" in capsys.readouterr().err
    performance = read_manifest(tmp_path / "a").performances[0]
    samples, rate = read_audio(tmp_path / "a" / performance.audio)
    events = read_midi(tmp_path / "a" / performance.midi)
    expected = render_soundfont(events, SOUNDFONT, rate, program=6, gain=0.3)
    np.testing.assert_allclose(samples, expected, atol=1 / 32768)
    both, _ = read_audio(tmp_path / "a" / performance.audio, 2)
    expected = render_soundfont(events, SOUNDFONT, rate, program=6, gain=0.3, channels=2)
    np.testing.assert_allclose(both, expected, atol=1 / 32768)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "spotify"), "unknown dataset 'spotify'"),
        (("--name", "folder"), "needs dataset.root"),
        (("--name", "rendered", "--minutes", "0.1"), "at least 0.5"),
    ],
)
def test_download_refuses_wrong_input_in_one_line(tmp_path, capsys, options, message):
    out = tmp_path / "raw"
    assert command("--params", ROOT / "params.yaml", "--out", out, *options) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not out.exists()
