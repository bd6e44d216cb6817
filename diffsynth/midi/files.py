"""Reading and writing MIDI files. What is read, and how: docs/midi.md."""

from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np

from diffsynth.errors import UserError
from diffsynth.midi.channels import Channels, Row
from diffsynth.midi.chunks import read_chunks
from diffsynth.midi.events import CONTROL, EVENT, NOTE_ON, PEDALS, SOSTENUTO, Events
from diffsynth.midi.messages import ALL_NOTES_OFF, ALL_SOUND_OFF, RESET_CONTROLLERS
from diffsynth.midi.selection import Selection, select
from diffsynth.midi.timeline import Moment, timeline
from diffsynth.runs.files import atomic_path

LONG = 3600.0  # s; longer performances are reported
LONGEST_DELTA = (1 << 28) - 1  # ticks between two messages


def read_midi(
    path: str | Path, programs: str = "all", say: Callable[[str], None] | None = None, whole: bool = False
) -> Events:
    """Notes and pedal movements of a MIDI file, as one event stream.

    Every strike has one release, when its damper need not be held up by a finger any more.

    Args:
        path: a file of type 0, 1 or 2, RIFF or not.
        programs: which instruments are played: "all" but drums, or "piano".
        say: takes one line that tells what was left out, what could not be read, and whether it lasts
            hours (a damaged delta time makes such pauses), if anything.
        whole: refuse a file of which a part could not be read.

    Raises:
        UserError: the file is missing, is not MIDI, holds no note, or is damaged and has to be whole.
    """
    path = Path(path)
    data = _contents(path)
    try:
        chunks = read_chunks(data)
        moments = timeline(chunks)
    except ValueError as error:
        raise UserError(f"{path} is not a readable MIDI file: {error}") from error
    if whole and chunks.lost:
        raise UserError(f"{path} is damaged: {', '.join(chunks.lost)}")
    selection = select(moments, programs)
    told = [*chunks.lost, *(f"left out {_notes(n)} {why}" for why, n in selection.left_out.items())]
    if not selection.played:
        raise UserError(f"{path} holds no piano notes{f' ({_short(told)})' if told else ''}")
    events = np.array(_play(moments, selection), dtype=EVENT)
    if (seconds := events["time"][-1]) > LONG:
        told.insert(0, f"it lasts {seconds / 3600:.1f} hours")
    if told and say:
        say(f"{path}: {_short(told)}")
    return events


def _contents(path: Path) -> bytes:
    try:
        if not path.exists():
            raise UserError(f"{path} does not exist")
        if not path.is_file():
            raise UserError(f"{path} is not a file")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def write_midi(path: str | Path, events: Events, resolution: int = 480, tempo: float = 120.0) -> None:
    """Write an event stream as a MIDI file with one track, atomically; `read_midi` gives the same events.

    Times are rounded to ticks of 60 / (tempo * resolution) seconds. A note that is never released ends with
    the last event.
    """
    beat = round(60e6 / tempo)  # microseconds
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=beat)])
    holds: dict[int, int] = {}
    last = 0
    for time, kind, number, value in events.tolist():
        tick = max(round(time * 1e6 * resolution / beat), last)
        while tick - last > LONGEST_DELTA:
            track.append(mido.MetaMessage("marker", text="", time=LONGEST_DELTA))
            last += LONGEST_DELTA
        for message in _messages(holds, kind, number, value):
            track.append(message.copy(time=tick - last))
            last = tick
    file = mido.MidiFile(type=0, ticks_per_beat=resolution, tracks=[track])
    with atomic_path(path) as temporary:
        file.save(temporary)


def _messages(holds: dict[int, int], kind: int, number: int, value: int) -> list[mido.Message]:
    """An event as messages; `holds` are strikes of keys that have not been released."""
    if kind == CONTROL:
        return [mido.Message("control_change", control=number, value=value)]
    if kind == NOTE_ON and value > 0:
        holds[number] = holds.get(number, 0) + 1
        return [mido.Message("note_on", note=number, velocity=value)]
    # A key that was struck again while it was down has several holds to end.
    return [mido.Message("note_off", note=number)] * holds.pop(number, 0)


def _play(moments: list[Moment], selection: Selection) -> list[Row]:
    """The events of a piano."""
    controls = [m for m in moments if m.message and m.message.type == "control_change"]
    catching = [m for m in controls if m.message.control == SOSTENUTO]
    one = len(selection.channels) == 1 or all(map(selection.acts_on_all, catching))
    silenced = any(m.message.control == ALL_SOUND_OFF for m in controls)
    piano = Channels(selection.channels, one and not silenced)
    for place, (time, track, message) in enumerate(moments):
        if message is None:
            piano.end_track(time, track)
        elif place in selection.played:
            piano.strike(time, message.channel, track, message.note, message.velocity)
        elif message.type == "note_off" or (message.type == "note_on" and not message.velocity):
            piano.release(time, message.channel, track, message.note)
        elif message.type == "control_change":
            _control(piano, moments[place], selection.acts_on_all(moments[place]))
    return piano.rows


def _control(piano: Channels, moment: Moment, shared: bool) -> None:
    time, _, message = moment
    number, channel = message.control, message.channel
    if number in PEDALS:
        piano.pedal(time, channel, number, message.value, shared)
    elif number == RESET_CONTROLLERS:
        piano.reset(time, channel, shared)
    elif number == ALL_SOUND_OFF:
        piano.sound_off(time, channel)
    elif number in ALL_NOTES_OFF:
        piano.notes_off(time, channel)


def _notes(count: int) -> str:
    return f"{count} note{'' if count == 1 else 's'}"


def _short(told: list[str], most: int = 4) -> str:
    """One line of several facts."""
    return "; ".join([*told[:most], *([f"and {len(told) - most} more"] if len(told) > most else [])])
