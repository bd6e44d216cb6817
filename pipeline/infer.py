"""`diffsynth infer`: the test performances through the streaming engine."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import paths
from pipeline.machine import RENDERING_THREADS, Threads
from pipeline.params import load_params
from pipeline.stage import PARAMS, Block, Model, ParamsFile, require, stage

if TYPE_CHECKING:
    from diffsynth.runs.tracking import Run

CLIPS, SECONDS = 3, 10  # what MLflow keeps to be heard: so many performances, the beginning of each


def infer(
    model: Model,
    block: Block,
    params_file: ParamsFile = PARAMS,
    models: Annotated[Path, typer.Option(help="Folder of trained models.")] = paths.MODELS,
    aligned: Annotated[Path, typer.Option(help="Folder of aligned performances.")] = paths.ALIGNED,
    out: Annotated[Path, typer.Option(help="Folder of renders.")] = paths.RENDERS,
    times: Annotated[Path, typer.Option(help="Folder to write timings to.")] = paths.TIMINGS,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Steps of the sampler.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the diffusion noise.")] = None,
    threads: Threads = RENDERING_THREADS,
) -> None:
    """Render the test performances block by block, and time it."""
    params = load_params(params_file, {"infer.steps": steps, "infer.seed": seed})
    params.variant(model, block)
    weights = require(paths.of_variant(models, model, block, ".safetensors"), "train", model, block)
    require(aligned / "index.json", "align")
    import torch

    from diffsynth.runs.files import folder_sha256, sha256, write_json
    from diffsynth.synthesis.rendering import render_split
    from diffsynth.synthesis.synthesizer import Synthesizer
    from diffsynth.synthesis.weights import load_voice

    torch.set_num_threads(threads)
    reads = {"voice": sha256(weights)}
    with stage("infer", params, ["audio", "infer"], model, block, reads=reads) as run:
        synthesizer = Synthesizer(load_voice(weights), params.infer.steps, params.infer.seed)
        folder, report = paths.of_variant(out, model, block), paths.of_variant(times, model, block, ".json")
        timings = render_split(aligned, folder, synthesizer)
        run.metrics({name: timings[name] for name in ("rtf", "p50_ms", "p99_ms")})
        write_json(report, timings)
        run.artifact(report, "timings")
        run.dataset(aligned / "index.json", "testing")
        run.tags({**reads, "renders": folder_sha256(folder)})
        _log_clips(run, folder)
    speed = f"{timings['seconds']:.0f} s at RTF {timings['rtf']}, p99 {timings['p99_ms']} ms"
    typer.echo(f"{folder}: {speed} by {weights}")


def _log_clips(run: "Run", folder: Path) -> None:
    """Log the beginnings of the first renders; all of them would be hours."""
    from diffsynth.audio.files import AudioFile, write_audio

    with TemporaryDirectory() as temporary:
        for path in sorted(folder.glob("*.wav"))[:CLIPS]:
            with AudioFile(path) as audio:
                write_audio(Path(temporary) / path.name, audio[: SECONDS * audio.rate], audio.rate)
        run.artifact(temporary, "audio")
