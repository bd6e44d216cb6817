"""A sound server without hardware, and somebody who plays on a MIDI port and listens; for tests too.

The server is JACK's with its dummy driver (Debian's package jackd2), private to whoever starts it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

WAIT = 20.0  # s for anything to appear

Key = tuple[int, bytes]  # frame of the server, and a MIDI message


def missing() -> str | None:
    """What this machine lacks to run a studio."""
    if not shutil.which("jackd"):
        return "no jackd (Debian: jackd2)"
    try:
        import sounddevice
    except OSError:
        return "no PortAudio (Debian: libportaudio2)"
    del sounddevice
    try:
        import jack
    except OSError:
        return "no libjack (Debian: libjack-jackd2-0)"
    del jack
    return None


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """What the condition returns, as soon as it is true."""
    end = time.monotonic() + WAIT
    while not (result := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not appear within {WAIT:g} s")
        time.sleep(0.02)
    return result


def environment(name: str) -> dict[str, str]:
    """For programs that are to find the server of this name and no other."""
    variables = {k: v for k, v in os.environ.items() if k != "JACK_PROMISCUOUS_SERVER"}
    return variables | {
        "JACK_DEFAULT_SERVER": name,
        "JACK_NO_START_SERVER": "1",
        "JACK_NO_AUDIO_RESERVATION": "1",
    }


@contextmanager
def server(name: str, rate: int, period: int) -> Iterator[subprocess.Popen[str]]:
    """A running JACK server with two inputs and two outputs that lead nowhere."""
    command = ["jackd", "-n", name, "--no-realtime", "-d", "dummy", "-r", str(rate), "-p", str(period)]
    process = subprocess.Popen(
        command, env=environment(name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=WAIT)


class Musician:
    """A JACK client with one MIDI output, to play on, and one audio input, to listen with.

    Both run on the same frames: what is heard can be counted from what is played.

    Args:
        name: of the server.
        seconds: of listening.
    """

    def __init__(self, name: str, seconds: float) -> None:
        import jack

        jack.set_error_function(lambda _: None)  # while the server is not up
        jack.set_info_function(lambda _: None)
        self._jack = jack
        self.client = wait_for(lambda: self._open(name), "the JACK server")
        self.rate = self.client.samplerate
        self._keys = self.client.midi_outports.register("keys")
        self._ear = self.client.inports.register("ear")
        self._heard = np.zeros(int(seconds * self.rate), dtype=np.float32)
        self._begin: int | None = None  # frame of the first heard sample
        self._length = 0
        self._todo: list[Key] = []
        self.xruns = 0
        self.client.set_process_callback(self._process)
        self.client.set_xrun_callback(self._count)
        self.client.activate()

    @property
    def frame(self) -> int:
        """The server's time, in samples."""
        return int(self.client.frame_time)

    def meet(self, midi: str) -> None:
        """Play on the MIDI input whose name ends in `midi`, and listen."""
        inlet = wait_for(lambda: self._ports(f"{midi}$", is_midi=True, is_input=True), f"port {midi}")
        self.client.connect(self._keys, inlet[0])
        self.listen()

    def listen(self) -> None:
        """Connect to the one program that sounds."""
        outlet = wait_for(lambda: self._ports("out", is_audio=True, is_output=True), "a sounding program")
        self.client.connect(outlet[0], self._ear)

    def play(self, keys: list[Key]) -> None:
        """Send messages at their frames."""
        self._todo = sorted([*self._todo, *keys], reverse=True)

    def heard(self) -> tuple[int, np.ndarray]:
        """Frame of the first sample, and all samples so far."""
        return self._begin or 0, self._heard[: self._length].copy()

    def close(self) -> None:
        """Leave the server, if it is still there; once is enough."""
        if self.client is not None:
            self.client.deactivate(ignore_errors=True)
            self.client.close(ignore_errors=True)
            self.client = None

    def _open(self, name: str) -> Any:
        try:
            return self._jack.Client("musician", servername=name, no_start_server=True)
        except self._jack.JackOpenError:
            return None

    def _ports(self, pattern: str, **what: bool) -> list[Any]:
        own = f"{self.client.name}:"
        ports = self.client.get_ports(pattern, **what)
        return [port for port in ports if not port.name.startswith((own, "system:"))]

    def _process(self, frames: int) -> None:
        begin = self.client.last_frame_time
        self._keys.clear_buffer()
        while self._todo and self._todo[-1][0] < begin + frames:
            frame, message = self._todo.pop()
            self._keys.write_midi_event(max(frame - begin, 0), message)
        if self._begin is None:
            self._begin = begin
        place = begin - self._begin
        samples = self._ear.get_array()[: max(len(self._heard) - place, 0)]
        self._heard[place : place + len(samples)] = samples
        self._length = place + len(samples)

    def _count(self, delayed: float) -> None:  # noqa: ARG002
        self.xruns += 1
