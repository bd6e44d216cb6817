"""`diffsynth play` between a real MIDI port and a real sound server: JACK with its dummy driver.

They run when asked for, `pytest -m jack`, on a machine that does nothing else: server, musician and
player share its cores with whatever runs beside them, and the clock decides.

libjack sometimes crashes a process whose machine is too busy to answer the server in time. So that it
takes no other test along, every test runs in a process of its own, once more after such a crash.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from support.play_summary import SUMMARY

from diffsynth.synthesis.weights import save_voice

ROOT = Path(__file__).parents[2]
RATE, BLOCK, PERIOD = 24000, 512, 512


@pytest.fixture(scope="module")
def studio():
    """The module of the benchmarks that starts servers and plays; tests are skipped where it cannot."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        module = import_module("studio")
        if lacking := module.missing():
            pytest.skip(lacking)
        yield module


@contextmanager
def stage(studio, make_voice, folder, rate):
    """A server, a musician in it, and how to start `diffsynth play` there."""
    name = f"diffsynth-test-{os.getpid()}"
    save_voice(folder / "voice.safetensors", make_voice("lstm", BLOCK), {})
    running = []

    def play(*options):
        command = [sys.executable, "-m", "pipeline", "play", "--weights", folder / "voice.safetensors"]
        process = subprocess.Popen(
            [*command, *options],
            env=studio.environment(name),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    with studio.server(name, rate, PERIOD) as server:
        musician = studio.Musician(name, 40.0)
        try:
            yield server, musician, play
        finally:
            for process in running:
                process.kill()
                process.communicate()
            musician.close()


def notes(musician, process, count):
    """Play short notes, well apart, and return the seconds from each key to its sound."""
    started = process.stderr.readline()
    time.sleep(0.5)
    # Keys fall anywhere within the period of the server.
    gap = musician.rate * 6 // 10 + 61
    frames = [musician.frame + musician.rate // 2 + i * gap for i in range(count)]
    keys = [(frame, bytes((0x90, 76 + 3 * i, 110))) for i, frame in enumerate(frames)]
    musician.play(keys + [(frame + gap // 6, bytes((0x80, message[1], 0))) for frame, message in keys])
    time.sleep(0.5 + 0.6 * count + 0.8)
    begin, heard = musician.heard()
    sounds = [np.abs(heard[frame - begin :][: gap - 500]) > 1e-3 for frame in frames]
    assert all(sound.any() for sound in sounds), f"not all heard: {[s.any() for s in sounds]}"
    return started, np.array([np.argmax(sound) for sound in sounds]) / musician.rate


def in_time(delays, least, most):
    """Whether notes took as long as they should: JACK hands over a key up to one period early.

    One is enough, because a busy machine stops the server and the musician, too; that every event
    comes to its exact place is for test_live.py to show, where nothing depends on time.
    """
    return ((least <= delays) & (delays <= most)).any()


def inner_keys_sound_within_the_latency_until_the_server_ends(studio, make_voice, tmp_path):
    with stage(studio, make_voice, tmp_path, RATE) as (server, musician, play):
        process = play("--virtual", "keyboard", "--buffers", "1")
        musician.meet("keyboard")
        _, delays = notes(musician, process, 4)
        musician.close()  # which takes seconds without a server
        server.terminate()
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors.endswith("diffsynth: the audio device system is gone\n")
    latency = float(SUMMARY.search(output)["latency"]) / 1000
    # One block of events, one in the ring, and one period of the server.
    assert latency == pytest.approx((2 * BLOCK + PERIOD) / RATE, abs=1e-3)
    assert in_time(delays, (2 * BLOCK - PERIOD) / RATE, latency)


def inner_a_port_that_disappears_ends_it_at_twice_the_rate(studio, make_voice, tmp_path):
    with stage(studio, make_voice, tmp_path, 2 * RATE) as (_, musician, play):
        listed = play("--list-devices")
        assert (
            listed.communicate(timeout=30)[0]
            == "audio outputs:\n  0 system (default)\n  1 musician\nMIDI inputs:\n  musician:keys\n"
        )
        process = play("--port", "KEYS")
        musician.listen()
        started, delays = notes(musician, process, 3)
        musician.close()
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert started.startswith("musician:keys to system by ")
    assert ": lstm at 512 samples, 48000 Hz, latency " in started
    assert errors.endswith("diffsynth: the MIDI port musician:keys is gone\n")
    latency = float(SUMMARY.search(output)["latency"]) / 1000
    assert 3 * BLOCK / RATE < latency < 3 * BLOCK / RATE + 3 * PERIOD / (2 * RATE)
    assert in_time(delays, 3 * BLOCK / RATE - PERIOD / (2 * RATE), latency)


def inner_a_device_of_another_rate(studio, make_voice, tmp_path):
    with stage(studio, make_voice, tmp_path, 44100) as (_, musician, play):
        process = play("--virtual", "keyboard")
        musician.meet("keyboard")
        started, delays = notes(musician, process, 3)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        musician.close()
    assert ": lstm at 512 samples, 44100 Hz, latency " in started
    latency = float(SUMMARY.search(output)["latency"]) / 1000
    assert 3 * BLOCK / RATE < latency < 3 * BLOCK / RATE + 3 * PERIOD / 44100
    assert in_time(delays, 3 * BLOCK / RATE - PERIOD / 44100, latency)


@pytest.mark.jack
@pytest.mark.parametrize(
    "name",
    [
        "inner_keys_sound_within_the_latency_until_the_server_ends",
        "inner_a_port_that_disappears_ends_it_at_twice_the_rate",
        "inner_a_device_of_another_rate",
    ],
)
def test_between_a_port_and_a_server(studio, tmp_path, name):
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist"]
    command += ["-o", "addopts=-q", "-o", "python_functions=inner_*", f"{__file__}::{name}"]
    for _ in range(2):
        with open(tmp_path / "log", "w") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
            )
            try:
                process.wait(120)
            finally:
                with suppress(ProcessLookupError):  # it leaves a server behind only if it crashes or hangs
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode >= 0:
            break
    assert process.returncode == 0, (tmp_path / "log").read_text()
