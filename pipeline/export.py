"""`diffsynth export`: a voice as an ONNX file for other hosts."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.stage import VoiceBlock, VoiceModel


def export(
    target: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="ONNX file to write.")],
    model: VoiceModel = None,
    block: VoiceBlock = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the sampler.")] = 1,
    weights: Annotated[
        Path | None, typer.Option(help="Voice to export. Default: the released one, else a trained one.")
    ] = None,
    released: Annotated[Path, typer.Option(help="Folder of released weights.")] = paths.WEIGHTS,
    models: Annotated[Path, typer.Option(help="Folder of trained models.")] = paths.MODELS,
) -> None:
    """Write a voice as an ONNX file that carries all a host needs (see examples/onnx_host.py)."""
    from diffsynth.errors import UserError

    if target.suffix.lower() != ".onnx":
        raise UserError(f"{target} must end in .onnx")
    from diffsynth.runs.files import check_writable

    check_writable(target)
    from diffsynth.synthesis.export import export_onnx
    from diffsynth.synthesis.weights import open_voice

    about = export_onnx(open_voice(model, block, weights, released, models), target, steps)
    size = target.stat().st_size / 2**20
    typer.echo(
        f"{target}: {about['model']} at {about['block']} samples, {about['sample_rate']} Hz, {size:.1f} MiB"
    )
    for direction in ("inputs", "outputs"):
        shapes = ", ".join(f"{name} {shape}" for name, shape in about[direction].items())
        typer.echo(f"  {direction}: {shapes}")
