"""`diffsynth render`: a MIDI file into an audio file."""

from pathlib import Path
from typing import Annotated

import typer

from diffsynth.synthesis.config import BACKENDS
from pipeline import paths
from pipeline.stage import GivenVoice, Released, Trained, VoiceBlock, VoiceModel, or_list


def render(
    source: Annotated[Path, typer.Argument(metavar="IN.mid", help="MIDI file to play.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.wav", help="WAV or FLAC file to write.")],
    model: VoiceModel = None,
    block: VoiceBlock = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the sampler.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the diffusion noise.")] = 0,
    backend: Annotated[str, typer.Option(help=f"What computes the network: {or_list(BACKENDS)}.")] = BACKENDS[
        0
    ],
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

    events = read_midi(source)
    import torch

    from diffsynth.audio.files import write_audio
    from diffsynth.synthesis.rendering import render_with_progress
    from diffsynth.synthesis.synthesizer import Synthesizer
    from diffsynth.synthesis.voice_files import open_voice

    torch.set_num_threads(1)
    voice, file = open_voice(model, block, weights, models, released)
    network = None
    if backend == "onnx":
        from diffsynth.synthesis.onnx_step import OnnxStep

        network = OnnxStep.of(voice, steps)
    audio, rtf = render_with_progress(Synthesizer(voice, steps, seed, network), events)
    write_audio(target, audio, voice.config.audio.sample_rate)
    clipped = int((abs(audio) > 1).sum())
    note = f", {clipped} samples clipped" if clipped else ""
    seconds = len(audio) / voice.config.audio.sample_rate
    typer.echo(f"{target}: {seconds:.1f} s at RTF {rtf:.3f} by {file}{note}")
