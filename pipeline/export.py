"""`diffsynth export`: a voice as an ONNX file for other hosts."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.stage import GivenVoice, NamedVoice, Released, Trained, VoiceBlock, VoiceModel


def export(
    target: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="ONNX file to write.")],
    model: VoiceModel = None,
    block: VoiceBlock = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Steps of the sampler.")] = 1,
    voice: NamedVoice = None,
    weights: GivenVoice = None,
    models: Trained = paths.MODELS,
    released: Released = paths.WEIGHTS,
) -> None:
    """Write a voice as an ONNX file that carries all a host needs (see examples/onnx_host.py)."""
    from diffsynth.errors import UserError

    if target.suffix.lower() != ".onnx":
        raise UserError(f"{target} must end in .onnx")
    from diffsynth.runs.files import check_writable

    check_writable(target)
    from diffsynth.synthesis.export import export_onnx
    from diffsynth.synthesis.voice_files import open_voice

    played, file = open_voice(model, block, weights, models, released, voice)
    about = export_onnx(played, target, steps)
    size = target.stat().st_size / 2**20
    typer.echo(
        f"{target}: {file}, {about['model']} at {about['block']} samples, {about['sample_rate']} Hz, "
        f"{size:.1f} MiB"
    )
    for direction in ("inputs", "outputs"):
        shapes = ", ".join(f"{name} {shape}" for name, shape in about[direction].items())
        typer.echo(f"  {direction}: {shapes}")
