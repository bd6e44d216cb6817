"""`diffsynth play`: live, from a MIDI port or file to a sound card, into a file or nowhere."""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffsynth.errors import UserError
from diffsynth.synthesis.config import BUFFERS
from pipeline import paths
from pipeline.stage import GivenVoice, NamedVoice, Released, Trained, VoiceBlock, VoiceModel

if TYPE_CHECKING:
    from diffsynth.live.session import Ending
    from diffsynth.live.sinks import Sink
    from diffsynth.live.sources import Source
    from diffsynth.midi.events import Events
    from diffsynth.synthesis.synthesizer import Synthesizer

SUFFIXES = (".wav", ".flac")


def play(
    source: Annotated[
        Path | None, typer.Argument(metavar="[FILE.mid]", help="MIDI file to play instead of a port.")
    ] = None,
    port: Annotated[str | None, typer.Option(help="MIDI input: its name or a part of it.")] = None,
    virtual: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make a MIDI input that other programs connect to.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Audio output: its name, a part, or number.")] = None,
    sink: Annotated[
        str | None, typer.Option(metavar="null|FILE.wav", help="Play nowhere or into a file instead.")
    ] = None,
    model: VoiceModel = None,
    block: VoiceBlock = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Steps of the sampler.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the diffusion noise.")] = 0,
    buffers: Annotated[
        int, typer.Option(min=1, help="Blocks kept ready, against gaps in the sound.")
    ] = BUFFERS,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after this time.")] = None,
    programs: Annotated[
        str, typer.Option(help="Which instruments of a file: all (but drums), or piano.")
    ] = "all",
    list_devices: Annotated[
        bool, typer.Option("--list-devices", help="List audio outputs and MIDI inputs.")
    ] = False,
    voice: NamedVoice = None,
    weights: GivenVoice = None,
    models: Trained = paths.MODELS,
    released: Released = paths.WEIGHTS,
) -> None:
    """Play live: a MIDI keyboard, or a MIDI file, to the sound card. Ctrl-C ends."""
    if list_devices:
        _list()
        return
    _check(source, port, virtual, device, sink)
    from diffsynth.config import choice
    from diffsynth.midi.config import PROGRAMS
    from diffsynth.midi.files import read_midi

    choice("programs", programs, PROGRAMS)

    events = None
    if source is not None:
        events = read_midi(source, programs, say=partial(typer.echo, err=True))
    import torch

    from diffsynth.live.session import Session
    from diffsynth.synthesis.synthesizer import Synthesizer
    from diffsynth.synthesis.voice_files import open_voice

    torch.set_num_threads(1)
    played, file = open_voice(model, block, weights, models, released, voice)
    synthesizer = Synthesizer(played, steps, seed)
    with ExitStack() as stack:
        name, inlet = _source(synthesizer, source, events, port, virtual)
        stack.callback(inlet.close)
        outlet = _sink(stack, sink, device, synthesizer.rate, synthesizer.channels)
        stack.callback(outlet.close)
        session = Session(synthesizer, outlet, buffers)
        typer.echo(
            f"{name} to {outlet.name} by {file}: {played.config.model} at {played.config.block} samples, "
            f"{outlet.rate} Hz, latency {1000 * session.latency:.1f} ms; Ctrl-C ends",
            err=True,
        )
        ending = session.play(inlet, seconds, _show)
    _end(ending)


def _check(
    source: Path | None, port: str | None, virtual: str | None, device: str | None, sink: str | None
) -> None:
    """Refuse what contradicts itself."""
    if sum(given is not None for given in (source, port, virtual)) > 1:
        raise UserError("choose one of FILE.mid, --port and --virtual")
    if device is not None and sink is not None:
        raise UserError("choose one of --device and --sink")
    if sink is not None and sink != "null" and Path(sink).suffix.lower() not in SUFFIXES:
        raise UserError(f"--sink is null or a .wav or .flac file, not {sink}")
    if sink is not None and Path(sink).is_dir():
        raise UserError(f"{sink} is a folder")


def _source(
    synthesizer: "Synthesizer",
    file: Path | None,
    events: "Events | None",
    port: str | None,
    virtual: str | None,
) -> tuple[str, "Source"]:
    """Where events come from, and its name."""
    if events is not None:
        from diffsynth.live.sources import FileSource

        # The first block to be computed begins one block before the sink does.
        return str(file), FileSource(events, synthesizer.rate, -synthesizer.block)
    from diffsynth.live.ports import Port

    inlet = Port(synthesizer.rate, port, virtual)
    return inlet.name, inlet


def _sink(stack: ExitStack, sink: str | None, device: str | None, rate: int, channels: int) -> "Sink":
    """Where the sound goes; a file is closed by the stack."""
    if sink is None:
        from diffsynth.live.device import DeviceSink

        return DeviceSink(rate, device)
    from diffsynth.audio.recording import RecordingFile
    from diffsynth.live.sinks import PacedSink

    if sink == "null":
        return PacedSink(rate, "nowhere")
    return PacedSink(rate, sink, stack.enter_context(RecordingFile(Path(sink), rate, channels)).write)


def _list() -> None:
    """Print what can be played on and from."""
    from diffsynth.live.device import outputs
    from diffsynth.live.ports import inputs

    for title, names in (("audio outputs", outputs()), ("MIDI inputs", inputs())):
        typer.echo(f"{title}:{'' if names else ' none'}")
        for name in names:
            typer.echo(f"  {name}")


def _end(ending: "Ending") -> None:
    """Say how it went, and end as it ended."""
    _close_line()
    typer.echo(ending.summary.line())
    if ending.failure:
        raise UserError(ending.failure)
    if isinstance(ending.stopped, SystemExit):
        raise ending.stopped


def _show(line: str) -> None:
    """The meter, on one line of a terminal."""
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{line}", nl=False, err=True)


def _close_line() -> None:
    if sys.stderr.isatty():
        typer.echo("\r\x1b[K", nl=False, err=True)
