"""Names that are not UTF-8, on terminals that refuse them."""

import os
import subprocess
import sys

import numpy as np
import pytest
from support.elsewhere import ROOT, command

from diffsynth.audio.files import read_audio, write_audio
from diffsynth.midi.events import NOTE_ON, make_events
from diffsynth.midi.files import write_midi
from diffsynth.synthesis.weights import save_voice
from pipeline.app import run

STRICT = {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"}
NAME = "caf\udce9"  # the byte E9 as Python keeps it


def test_render_of_such_a_name_reaches_its_end(make_voice, tmp_path):
    write_midi(tmp_path / f"{NAME}.mid", make_events([(0.0, NOTE_ON, 60, 80), (0.1, 0, 60, 0)]))
    save_voice(tmp_path / "voice.safetensors", make_voice(), {})
    done = command(
        tmp_path, "render", f"{NAME}.mid", f"{NAME}.wav", "--weights", "voice.safetensors", **STRICT
    )
    assert (done.returncode, done.stderr.count(b"Traceback")) == (0, 0)
    assert done.stdout.startswith(rb"caf\udce9.wav: ")
    assert np.abs(read_audio(tmp_path / f"{NAME}.wav")[0]).max() > 0


@pytest.mark.parametrize("terminal", [STRICT, ASCII], ids=["utf8", "ascii"])
def test_a_message_spells_the_name_out(tmp_path, terminal):
    done = command(tmp_path, "render", f"{NAME}.mid", "out.wav", **terminal)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"diffsynth: caf\\xe9.mid does not exist\n"


def test_letters_beyond_ascii_are_no_traceback_on_a_terminal_without_them(tmp_path):
    done = command(tmp_path, "render", "é.mid", "out.wav", **ASCII)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.endswith(b".mid does not exist\n")
    assert done.stderr.count(b"\n") == 1


def test_render_needs_no_terminal_at_all(make_voice, tmp_path):
    write_midi(tmp_path / "a.mid", make_events([(0.0, NOTE_ON, 60, 80), (0.1, 0, 60, 0)]))
    save_voice(tmp_path / "voice.safetensors", make_voice(), {})
    words = f"{sys.executable} -m pipeline render a.mid a.wav --weights voice.safetensors >&- 2>&-"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(["sh", "-c", words], cwd=tmp_path, env=environment, check=False).returncode == 0
    assert np.abs(read_audio(tmp_path / "a.wav")[0]).max() > 0


def test_audio_of_such_a_name_is_read_and_written(tmp_path):
    folder = tmp_path / NAME
    write_audio(folder / f"{NAME}.wav", np.full(8, 0.5), 8000)
    np.testing.assert_allclose(read_audio(folder / f"{NAME}.wav")[0], 0.5, atol=1e-4)


def test_what_a_library_cannot_name_is_one_line(make_voice, tmp_path, capsys):
    save_voice(tmp_path / "voice.safetensors", make_voice(), {})
    (tmp_path / NAME).mkdir()
    voice = (tmp_path / "voice.safetensors").rename(tmp_path / NAME / "voice.safetensors")
    write_midi(tmp_path / "a.mid", make_events([(0.0, NOTE_ON, 60, 80), (0.1, 0, 60, 0)]))
    assert run(["render", str(tmp_path / "a.mid"), str(tmp_path / "a.wav"), "--weights", str(voice)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"diffsynth: {tmp_path}/caf\\xe9/voice.safetensors is not ")
    assert error.count("\n") == 1
