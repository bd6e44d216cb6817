"""`diffsynth play` without a device: into files and nowhere, its end, and what it refuses."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from support.play_summary import SUMMARY

from diffsynth.audio.files import read_audio
from diffsynth.errors import UserError
from diffsynth.live.ports import choose_port
from diffsynth.midi.events import CONTROL, NOTE_ON, SUSTAIN, make_events
from diffsynth.midi.files import read_midi, write_midi
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.weights import save_voice

RATE, BLOCK = 24000, 512


@pytest.fixture(scope="module")
def voice(make_voice, tmp_path_factory):
    """A file with a small voice."""
    path = tmp_path_factory.mktemp("voice") / "voice.safetensors"
    save_voice(path, make_voice("s6", BLOCK), {})
    return path


@pytest.fixture(scope="module")
def midi(tmp_path_factory):
    """Two seconds of music, dense at the beginning."""
    rng = np.random.default_rng(2)
    rows = [(float(2 * rng.random() ** 2), NOTE_ON, int(rng.integers(30, 90)), 70) for _ in range(40)]
    path = tmp_path_factory.mktemp("midi") / "music.mid"
    write_midi(path, make_events([*rows, (2.0, CONTROL, SUSTAIN, 0)]))
    return path


def test_a_file_is_recorded_as_render_writes_it(project, make_voice, voice, midi, tmp_path, capsys):
    options = ["--weights", voice, "--seed", 3, "--buffers", 3]
    assert project.run("play", midi, "--sink", tmp_path / "new" / "out.wav", *options) == 0
    audio, rate = read_audio(tmp_path / "new" / "out.wav")
    expected = render(Synthesizer(make_voice("s6", BLOCK), 1, 3), read_midi(midi))
    assert rate == RATE
    assert not audio[: 3 * BLOCK].any()
    np.testing.assert_allclose(audio[3 * BLOCK :][: len(expected)], expected.clip(-1, 1), atol=1.01 / 32768)
    output = capsys.readouterr()
    summary = SUMMARY.fullmatch(output.out)
    assert float(summary["seconds"]) == pytest.approx(len(audio) / RATE, abs=0.06)
    assert float(summary["latency"]) == pytest.approx(4 * BLOCK / RATE * 1000, abs=0.06)
    assert int(summary["blocks"]) * BLOCK + 3 * BLOCK == len(audio)
    assert 0 < float(summary["p50"]) <= float(summary["p99"])
    assert output.err.startswith(
        f"{midi} to {tmp_path / 'new' / 'out.wav'} by {voice} (given): s6 at 512 samples"
    )


def test_it_plays_nowhere_at_the_pace_of_the_clock_and_stops_in_time(project, voice, midi, capsys):
    begin = time.perf_counter()
    assert project.run("play", midi, "--sink", "null", "--seconds", 0.7, "--weights", voice) == 0
    spent = time.perf_counter() - begin
    summary = SUMMARY.fullmatch(capsys.readouterr().out)
    assert 1.2 <= float(summary["seconds"]) <= spent + 0.05  # and half a second to die away


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_an_interrupted_performance_dies_away(voice, tmp_path, number, code):
    path, out = tmp_path / "long.mid", tmp_path / "out.wav"
    write_midi(
        path, make_events([(0.0, CONTROL, SUSTAIN, 127), (0.1, NOTE_ON, 45, 100), (60.0, NOTE_ON, 45, 1)])
    )
    command = [sys.executable, "-m", "pipeline", "play", path, "--sink", out, "--weights", voice]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while not any(part.stat().st_size > RATE for part in tmp_path.glob(".part-*")):
            assert time.monotonic() < end
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert SUMMARY.fullmatch(output)
    assert errors.endswith("Ctrl-C ends\n")
    audio, _ = read_audio(out)
    assert len(audio) < 30 * RATE
    assert np.abs(audio[len(audio) // 2 - 2000 :][:2000]).max() > 1e-3
    # Dampers fall, and half a second later nothing is left; within it nothing breaks off.
    assert not audio[-RATE // 20 :].any()
    tail = audio[-RATE // 2 :]
    assert np.abs(tail[: RATE // 20]).max() > 1e-3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["long.mid", "out.wav"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["music.mid", "--port", "a"], "choose one of FILE.mid, --port and --virtual"),
        (["--virtual", "b", "--port", "a"], "choose one of FILE.mid, --port and --virtual"),
        (["music.mid", "--device", "a", "--sink", "null"], "choose one of --device and --sink"),
        (["music.mid", "--sink", "a.mp3"], "--sink is null or a .wav or .flac file, not a.mp3"),
        (["music.mid", "--sink", "folder.wav"], "folder.wav is a folder"),
        (["music.mid", "--sink", "params.yaml/a.wav"], "cannot write params.yaml/a.wav: "),
        (["none.mid", "--sink", "null"], "none.mid does not exist"),
        (["params.yaml", "--sink", "null"], "params.yaml is not a readable MIDI file: "),
        (["music.mid", "--sink", "null", "--weights", "none"], "none does not exist"),
        (["music.mid", "--buffers", 0], "Invalid value for '--buffers'"),
        (["music.mid", "--seconds", -1], "Invalid value for '--seconds'"),
    ],
)
def test_what_cannot_be_played_is_named(refuse, voice, midi, tmp_path, options, message):
    (tmp_path / "music.mid").write_bytes(midi.read_bytes())
    (tmp_path / "folder.wav").mkdir()
    weights = [] if "--weights" in options else ["--weights", voice]
    assert refuse("play", *options, *weights).startswith(message)


def test_without_the_extra_the_error_says_how_to_install_it(refuse, voice, midi, monkeypatch):
    for name in ("sounddevice", "rtmidi"):
        monkeypatch.setitem(sys.modules, name, None)
    for options in ([midi], ["--list-devices"], ["--port", "a"], ["--virtual", "a"]):
        assert refuse("play", *options, "--weights", voice).endswith(": pip install 'diffsynth-piano[live]'")


def test_without_portaudio_the_error_says_how_to_install_it(refuse, voice, midi, monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    error = refuse("play", midi, "--weights", voice)
    assert error == "there is no PortAudio library: apt-get install libportaudio2"


def bare_machine():
    """Why this machine is not without devices; empty if it is."""
    try:
        import sounddevice
    except OSError:
        return "no PortAudio (Debian: libportaudio2)"
    return "it has a sound card" if len(sounddevice.query_devices()) or os.path.exists("/dev/snd/seq") else ""


def test_a_machine_without_devices_is_told_what_to_do(refuse, project, voice, midi, monkeypatch, capsys):
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "there-is-no-such-server")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    if reason := bare_machine():
        pytest.skip(reason)
    weights = ["--weights", voice]
    assert refuse("play", midi, *weights).startswith("there is no audio output: connect a sound card")
    assert refuse("play", *weights).startswith("there is no MIDI input: connect a keyboard")
    assert refuse("play", "--port", "a", *weights).startswith("there is no MIDI input")
    assert refuse("play", "--virtual", "a", *weights).startswith("a virtual MIDI port needs ALSA's sequencer")
    assert project.run("play", "--list-devices") == 0
    assert capsys.readouterr().out == "audio outputs: none\nMIDI inputs: none\n"


PORTS = ["Midi Through:0 14:0", "Stage Piano:MIDI 20:0", "stage", "Piano Roll:out 128:0"]


@pytest.mark.parametrize(
    ("name", "port"), [("Stage Piano:MIDI 20:0", 1), ("stage", 2), ("ROLL", 3), ("through", 0)]
)
def test_a_port_is_found_by_its_name_or_a_part_of_it(name, port):
    assert choose_port(name, PORTS) == port


def test_the_only_keyboard_needs_no_name():
    assert choose_port(None, PORTS[:2]) == 1


@pytest.mark.parametrize(
    ("name", "ports", "message"),
    [
        (None, [], "there is no MIDI input: connect a keyboard"),
        ("a", [], "there is no MIDI input: connect a keyboard"),
        ("organ", PORTS[1:3], f"no MIDI input is named like 'organ': {PORTS[1]}, stage"),
        ("piano", PORTS, f"more than one MIDI input is named like 'piano': {PORTS[1]}, {PORTS[3]}"),
        (None, PORTS, f"choose a MIDI input with --port: {PORTS[1]}, stage, {PORTS[3]}"),
        (None, PORTS[:1], f"choose a MIDI input with --port: {PORTS[0]}"),
    ],
)
def test_a_port_that_is_not_clear_is_asked_for(name, ports, message):
    with pytest.raises(UserError, match=re.escape(message)):
        choose_port(name, ports)
