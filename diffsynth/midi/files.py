"""Reading and writing MIDI files through `pretty_midi`."""

import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

from diffsynth.errors import UserError
from diffsynth.midi.events import (
    CONTROL,
    EVENT,
    HIGHEST_KEY,
    LOWEST_KEY,
    NOTE,
    PEDALS,
    Events,
    from_notes,
    to_notes,
)
from diffsynth.runs.files import atomic_path

# It loads pyfluidsynth, if that is there, which prints where it found its library wherever CI is set.
with redirect_stdout(StringIO()):
    import pretty_midi


def read_midi(path: str | Path) -> Events:
    """Notes and pedal movements of every pitched track of a MIDI file, as one event stream.

    Notes outside the 88 keys of a piano and notes of velocity 0 are left out.

    Raises:
        UserError: the file is missing, is not MIDI, is damaged, or holds no note.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            score = pretty_midi.PrettyMIDI(str(path))
    except Exception as error:  # pretty_midi and mido raise whatever the damage provokes
        problem = str(error) or type(error).__name__
        raise UserError(f"{path} is not a readable MIDI file: {problem}") from error
    instruments = [i for i in score.instruments if not i.is_drum]
    notes = [
        (n.start, n.end, n.pitch, n.velocity)
        for i in instruments
        for n in i.notes
        if LOWEST_KEY <= n.pitch <= HIGHEST_KEY and n.velocity > 0
    ]
    if not notes:
        raise UserError(f"{path} holds no piano notes")
    controls = [
        (c.time, CONTROL, c.number, c.value)
        for i in instruments
        for c in i.control_changes
        if c.number in PEDALS
    ]
    return from_notes(np.array(notes, dtype=NOTE), np.array(controls, dtype=EVENT))


def write_midi(path: str | Path, events: Events, resolution: int = 480, tempo: float = 120.0) -> None:
    """Write an event stream as a MIDI file with one piano track, atomically.

    Times are rounded to ticks of 60 / (tempo * resolution) seconds.
    """
    score = pretty_midi.PrettyMIDI(resolution=resolution, initial_tempo=tempo)
    piano = pretty_midi.Instrument(program=0)
    for onset, offset, key, velocity in to_notes(events).tolist():
        piano.notes.append(pretty_midi.Note(velocity, key, onset, offset))
    for time, _, number, value in events[events["kind"] == CONTROL].tolist():
        piano.control_changes.append(pretty_midi.ControlChange(number, value, time))
    score.instruments.append(piano)
    with atomic_path(path) as temporary:
        score.write(str(temporary))
