"""Performances played by FluidSynth through a SoundFont, with labels exact to the sample.

FluidSynth acts on events only every 64 samples. Events are therefore moved to that grid first,
and the moved times are what is written as MIDI: the label of a note is the sample where its voice
starts (measured: no latency). Reverb and chorus are off and the gain is fixed, so that level
follows velocity in every performance alike.

FluidSynth knows the sustain and sostenuto pedals as switches (down from 64) and ignores una corda.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from ctypes import c_int, c_void_p
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from diffsynth.audio.channels import converted
from diffsynth.audio.files import Audio, resample
from diffsynth.errors import UserError, to_install
from diffsynth.midi.events import CONTROL, NOTE_ON, Events, from_notes, to_notes, to_samples

RENDER_RATE = 48000  # Hz
GRID = 64  # samples between two moments when FluidSynth accepts events
TICK = GRID / RENDER_RATE  # s
GRID_RESOLUTION = 480  # MIDI ticks per quarter note, each one TICK long ...
GRID_TEMPO = 60 / (GRID_RESOLUTION * TICK)  # ... at this tempo: 93.75 quarter notes per minute
GAIN = 0.6  # ten keys at velocity 120 peak at 0.56
TAIL = 2.0  # s after the last event; the longest release lasts 1.1 s

_SETTINGS = {
    "synth.reverb.active": 0,
    "synth.chorus.active": 0,
    "synth.polyphony": 2048,  # voices are never stolen
    "synth.min-note-length": 0,  # releases are heard when they happen
    "synth.dynamic-sample-loading": 1,  # only the program in use, not the whole SoundFont
}


def snap(events: Events, tick: float = TICK) -> Events:
    """The events moved to the nearest multiple of `tick` s, every note at least one tick long.

    Of two onsets of one key in one tick the later stays.
    """
    notes = to_notes(events)
    controls = events[events["kind"] == CONTROL].copy()
    controls["time"] = np.rint(controls["time"] / tick) * tick
    onset = np.rint(notes["onset"] / tick)
    offset = np.maximum(np.rint(notes["offset"] / tick), onset + 1)
    notes["onset"], notes["offset"] = onset * tick, offset * tick
    last = {
        (note["key"], moment): index for index, (note, moment) in enumerate(zip(notes, onset, strict=True))
    }
    # A note made longer may now reach the next onset of its key: `to_notes` ends it there.
    notes = to_notes(from_notes(notes[sorted(last.values())]))
    # The order of what happens in one tick is that of the committed demo.
    notes = notes[np.lexsort((notes["key"], notes["offset"]))]
    return from_notes(notes, controls[np.lexsort((controls["number"], controls["time"]))])


def render_soundfont(
    events: Events,
    soundfont: str | Path,
    sample_rate: int = 24000,
    program: int = 0,
    gain: float = GAIN,
    channels: int = 1,
) -> Audio:
    """Play an event stream through a SoundFont.

    Args:
        events: performance, times in seconds; `snap` it first if its times are to be labels.
        soundfont: path of an .sf2 file.
        sample_rate: of the result, Hz.
        program: General MIDI program, 0 to 127.
        gain: linear, of the synthesizer. Nothing is normalised afterwards.
        channels: 1, the mean of left and right; or 2.

    Returns:
        [time] or [time, 2], until `TAIL` s after the last event. It may exceed -1..1.

    Raises:
        UserError: FluidSynth, the SoundFont or the program in it is missing.
    """
    stream = to_samples(events, RENDER_RATE)
    position = np.rint(stream["position"] / GRID).astype(np.int64) * GRID
    end = int(position[-1]) + round(TAIL * RENDER_RATE / GRID) * GRID
    audio = np.zeros((end, 2), dtype=np.float32)
    with _player(soundfont, program, gain) as (synth, write):
        at = 0
        for (_, kind, number, value), until in zip(stream.tolist(), position.tolist(), strict=True):
            write(audio[at:until])
            at = until
            if kind == CONTROL:
                synth.cc(0, number, value)
            elif kind == NOTE_ON:
                synth.noteon(0, number, value)
            else:
                synth.noteoff(0, number)
        write(audio[at:])
    return resample(converted(audio, channels), RENDER_RATE, sample_rate)


def check(soundfont: str | Path, program: int = 0) -> None:
    """Raise what `render_soundfont` would raise.

    Raises:
        UserError: FluidSynth, the SoundFont or the program in it is missing.
    """
    with _player(soundfont, program, GAIN):
        pass


@contextmanager
def _player(soundfont: str | Path, program: int, gain: float) -> Iterator[tuple[Any, Any]]:
    """A FluidSynth instance and a function that fills an array [time, 2] with what it plays."""
    library = _library()
    synth = library.Synth(gain=gain, samplerate=RENDER_RATE, channels=16, **_SETTINGS)
    try:
        _select(synth, Path(soundfont), program)
        # pyfluidsynth offers dithered 16 bits only; floats are silent where the piano is.
        arguments = [(n, c_void_p if n in ("synth", "left", "right") else c_int, 1) for n in _WRITE_FLOAT]
        write_float = library.cfunc("fluid_synth_write_float", c_int, *arguments)

        def write(buffer: Audio) -> None:
            if len(buffer):
                pointer = buffer.ctypes.data
                write_float(synth.synth, len(buffer), pointer, 0, 2, pointer, 1, 2)

        yield synth, write
    finally:
        synth.delete()


_WRITE_FLOAT = ("synth", "len", "left", "left_offset", "left_step", "right", "right_offset", "right_step")


def _library() -> Any:
    """The module `fluidsynth`, whose import loads the system library."""
    try:
        with redirect_stdout(StringIO()):  # it prints where it found the library
            import fluidsynth
    except ImportError as error:  # either the Python package or libfluidsynth itself
        raise UserError(
            "playing a SoundFont needs FluidSynth: apt install libfluidsynth3 fluid-soundfont-gm, "
            f"and {to_install('render')}"
        ) from error
    return fluidsynth


def _select(synth: Any, soundfont: Path, program: int) -> None:
    if not soundfont.is_file():
        raise UserError(
            f"SoundFont {soundfont} does not exist: apt install fluid-soundfont-gm, or set dataset.instrument"
        )
    with _silence():
        identity = synth.sfload(str(soundfont))
        selected = identity >= 0 and synth.program_select(0, identity, 0, program) >= 0
    if identity < 0:
        raise UserError(f"{soundfont} is not a readable SoundFont")
    if not selected:
        raise UserError(f"{soundfont} has no program {program}")


@contextmanager
def _silence() -> Iterator[None]:
    """Discard what FluidSynth and the libraries below it write to the stderr of the process."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
