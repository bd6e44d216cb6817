"""`diffsynth render`: a MIDI file into an audio file."""

from pathlib import Path
from typing import Annotated

import typer

from diffsynth.midi.config import PROGRAMS
from diffsynth.synthesis.config import BACKENDS
from pipeline import paths
from pipeline.stage import GivenVoice, NamedVoice, Released, Trained, VoiceBlock, VoiceModel, or_list


def render(
    source: Annotated[Path, typer.Argument(metavar="IN.mid", help="MIDI file to play.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.wav", help="WAV or FLAC file to write.")],
    model: VoiceModel = None,
    block: VoiceBlock = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Steps of the sampler.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the diffusion noise.")] = 0,
    backend: Annotated[str, typer.Option(help=f"What computes the network: {or_list(BACKENDS)}.")] = BACKENDS[
        0
    ],
    programs: Annotated[str, typer.Option(help=f"Which instruments: {or_list(PROGRAMS)}.")] = PROGRAMS[0],
    voice: NamedVoice = None,
    weights: GivenVoice = None,
    models: Trained = paths.MODELS,
    released: Released = paths.WEIGHTS,
) -> None:
    """Play a MIDI file into an audio file."""
    from diffsynth.errors import UserError

    if target.suffix.lower() not in (".wav", ".flac"):
        raise UserError(f"{target} must end in .wav or .flac")
    from diffsynth.config import choice
    from diffsynth.runs.files import check_writable

    check_writable(target)
    choice("backend", backend, BACKENDS)
    from diffsynth.midi.files import read_midi

    choice("programs", programs, PROGRAMS)
    said: list[str] = []
    events = read_midi(source, programs, say=said.append)
    import torch

    from diffsynth.synthesis.rendering import check_length, render_to_file
    from diffsynth.synthesis.synthesizer import Synthesizer
    from diffsynth.synthesis.voice_files import open_voice

    torch.set_num_threads(1)
    played, file = open_voice(model, block, weights, models, released, voice)
    network = None
    if backend == "onnx":
        from diffsynth.synthesis.onnx_step import OnnxStep

        network = OnnxStep.of(played, steps)
    synthesizer = Synthesizer(played, steps, seed, network)
    check_length(events, synthesizer.rate, target)
    for line in said:  # not before a refusal, which is one line
        typer.echo(line, err=True)
    rendered = render_to_file(synthesizer, events, target)
    note = f", {rendered.clipped} samples clipped" if rendered.clipped else ""
    typer.echo(f"{target}: {rendered.seconds:.1f} s at RTF {rendered.rtf:.3f} by {file}{note}")
