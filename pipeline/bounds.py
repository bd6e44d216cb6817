"""`diffsynth bounds`: what models lie between, measured like models: pianos, right gains, the recording."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.machine import WORKERS, Workers
from pipeline.params import load_params
from pipeline.stage import PARAMS, ParamsFile, Transcribed, require_all, stage


def bounds(
    params_file: ParamsFile = PARAMS,
    aligned: Annotated[Path, typer.Option(help="Folder of aligned performances.")] = paths.ALIGNED,
    fit: Annotated[Path, typer.Option(help="Fitted piano.")] = paths.FIT,
    out: Annotated[Path, typer.Option(help="Folder of renders.")] = paths.BOUNDS,
    metrics: Annotated[Path, typer.Option(help="Folder to write metrics to.")] = paths.BOUND_METRICS,
    figures: Annotated[Path, typer.Option(help="Folder to write spectrograms to.")] = paths.BOUND_FIGURES,
    transcribe: Transcribed = False,
    workers: Workers = WORKERS,
) -> None:
    """Render and measure what models lie between: nothing learned, all gains right, the recording itself."""
    params = load_params(params_file)
    require_all({fit: "fit", aligned / "index.json": "align"})
    import torch

    from diffsynth.evaluation.anchor import LOW_PASS, low_pass
    from diffsynth.evaluation.evaluating import RECORDING, evaluate_recording, evaluate_renders
    from diffsynth.piano.piano import load_piano
    from diffsynth.synthesis.bounds import EXCITATION, IDEAL, OTHER, render_bounds
    from diffsynth.transcription.transkun import Transkun

    torch.set_num_threads(1)
    judge = Transkun() if transcribe else None
    workers = 1 if transcribe else workers  # its network takes all cores as it is
    with stage("bounds", params, ["audio", "features", "evaluate"]) as run:
        piano, anchors = load_piano(fit), {LOW_PASS: low_pass}
        render_bounds(aligned, out, piano, params.audio, params.features, anchors)
        reports = []
        for name in (EXCITATION, IDEAL, OTHER, *anchors):
            report, pictures = metrics / f"{name}.json", figures / name
            reports.append(
                evaluate_renders(
                    aligned, out / name, name, None, params.evaluate, report, pictures, judge, workers
                )
            )
        reports.append(evaluate_recording(aligned, params.evaluate, metrics / f"{RECORDING}.json", judge))
        for result in reports:
            run.metrics(
                {f"vs_recording.{key}.{result['model']}": value for key, value in result["metrics"].items()}
            )
        run.artifact(metrics)
        run.artifact(figures)
    for result in reports:
        means = ", ".join(f"{name} {value:.3g}" for name, value in result["metrics"].items())
        typer.echo(f"{result['model']}: {means}")
