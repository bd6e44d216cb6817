"""MIDI input ports of the system, through RtMidi (python-rtmidi)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffsynth.errors import UserError, to_install
from diffsynth.live.inbox import Inbox

CLIENT = "diffsynth"
THROUGH = "Midi Through"  # ALSA's loop, which nobody plays on

# libjack would start a server of its own where there is none.
os.environ.setdefault("JACK_NO_START_SERVER", "1")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the complaints of C libraries about absent drivers off the terminal."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def inputs() -> list[str]:
    """Names of all MIDI inputs."""
    found = []
    for midi in _clients():
        found += midi.get_ports()
        midi.delete()
    return found


def choose_port(name: str | None, ports: list[str]) -> int:
    """Index of the port that is meant: of this name, or the only one that has `name` in it.

    Without a name the only one there is.

    Raises:
        UserError: there is none, or more than one; lists what there is.
    """
    if not ports:
        raise UserError("there is no MIDI input: connect a keyboard, or make a port with --virtual NAME")
    if name in ports:
        return ports.index(name)
    if name is None:
        meant = [port for port in ports if THROUGH not in port]
    else:
        meant = [port for port in ports if name.lower() in port.lower()]
    if len(meant) == 1:
        return ports.index(meant[0])
    listed = ", ".join(meant or ports)
    if name is None:
        raise UserError(f"choose a MIDI input with --port: {listed}")
    problem = "more than one MIDI input is" if meant else "no MIDI input is"
    raise UserError(f"{problem} named like {name!r}: {listed}")


class Port:
    """An open MIDI input; see `diffsynth.live.sources.Source`.

    Args:
        rate: of the voice, Hz.
        name: an existing port, or a part of its name that no other has; None takes the only one.
        virtual: name of a port to make instead, for other programs to connect to.

    Raises:
        UserError: there is no such port, or more than one; says what there is.
    """

    def __init__(self, rate: int, name: str | None = None, virtual: str | None = None) -> None:
        self._inbox = Inbox(rate)
        self.take = self._inbox.take
        if virtual is None:
            self._midi, self.name = _open(name)
        else:
            self._midi, self.name = _open_virtual(virtual), virtual
        self._exists = virtual is None
        self._midi.set_callback(lambda event, _: self._inbox.put(event[0]))

    def ended(self, position: int) -> bool:  # noqa: ARG002
        """See `Source`."""
        return False

    def failure(self) -> str | None:
        """See `Source`; costs a question to the driver."""
        # ALSA and JACK tell nobody that a keyboard has been unplugged.
        if self._exists and self.name not in self._midi.get_ports():
            return f"the MIDI port {self.name} is gone"
        return None

    def close(self) -> None:
        """See `Source`."""
        with quiet():
            self._midi.cancel_callback()
            self._midi.close_port()
            self._midi.delete()


def _open(name: str | None) -> tuple[Any, str]:
    clients = list(_clients())
    ports = [(midi, index, port) for midi in clients for index, port in enumerate(midi.get_ports())]
    midi, index, port = ports[choose_port(name, [port for _, _, port in ports])]
    for other in clients:
        if other is not midi:
            other.delete()
    midi.open_port(index, "in")
    return midi, port


def _open_virtual(name: str) -> Any:
    first, *others = list(_clients()) or [None]
    if first is None:
        raise UserError("a virtual MIDI port needs ALSA's sequencer (modprobe snd-seq) or a JACK server")
    for other in others:
        other.delete()
    first.open_virtual_port(name)
    return first


def _clients() -> Iterator[Any]:
    """A client of every MIDI system that runs here."""
    rtmidi = _library()
    for api in rtmidi.get_compiled_api():
        with quiet():
            try:
                client = rtmidi.MidiIn(api, name=CLIENT)
            except OSError:  # RtMidi's own error, for a system that does not run
                continue
        yield client


def _library() -> Any:
    try:
        import rtmidi
    except ImportError as error:
        raise UserError(f"MIDI ports need python-rtmidi: {to_install('live')}") from error
    return rtmidi
