"""`diffsynth evaluate`: the published evaluation, of the renders of one model or of one pair of files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffsynth.audio.format import BLOCKS
from diffsynth.config import choice
from diffsynth.errors import UserError
from diffsynth.evaluation.config import Evaluate
from diffsynth.models.registry import MODELS
from pipeline import paths
from pipeline.machine import WORKERS, Workers
from pipeline.params import Params, load_params
from pipeline.stage import PARAMS, ParamsFile, Transcribed, or_list, require, stage

if TYPE_CHECKING:
    from diffsynth.evaluation.pair import Pair

AUDIO = "evaluate one pair of files instead"


def evaluate(
    model: Annotated[str | None, typer.Option(help=f"Which model: {or_list(MODELS)}.")] = None,
    block: Annotated[int | None, typer.Option(help=f"Samples per block: {or_list(BLOCKS)}.")] = None,
    params_file: ParamsFile = PARAMS,
    aligned: Annotated[Path, typer.Option(help="Folder of the targets.")] = paths.ALIGNED,
    renders: Annotated[Path, typer.Option(help="Folder of renders, by block and model.")] = paths.RENDERS,
    metrics: Annotated[Path, typer.Option(help="Folder to write metrics to.")] = paths.METRICS,
    figures: Annotated[Path, typer.Option(help="Folder to write spectrograms to.")] = paths.FIGURES,
    target: Annotated[Path | None, typer.Option(help=f"Recording: {AUDIO}.")] = None,
    prediction: Annotated[Path | None, typer.Option(help="Its prediction, with --target.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Picture to write, with --target.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with --target.")] = False,
    transcribe: Transcribed = False,
    workers: Workers = WORKERS,
    midi: Annotated[
        Path | None, typer.Option(help="What was played, from the start of --target, for --transcribe.")
    ] = None,
) -> None:
    """Measure the renders of one model and block against the test split, or one pair of files."""
    params = load_params(params_file)
    of_files = target or prediction or figure or as_json or midi
    if target is not None and prediction is not None and model is None and block is None:
        if transcribe != (midi is not None):
            raise UserError("with --target, --transcribe and --midi go together")
        _evaluate_files(target, prediction, params.evaluate, figure, as_json, midi)
    elif model is not None and block is not None and not of_files:
        variant = choice("model", model, MODELS), choice("block", block, BLOCKS)
        source, written = paths.of_variant(renders, *variant), paths.of_variant(figures, *variant)
        report = paths.of_variant(metrics, *variant, ".json")
        _evaluate_renders(params, aligned, source, *variant, report, written, transcribe, workers)
    else:
        raise UserError(
            "give either --model and --block, or --target and --prediction with what belongs to them"
        )


def _evaluate_renders(
    params: Params,
    aligned: Path,
    renders: Path,
    model: str,
    block: int,
    report: Path,
    figures: Path,
    transcribe: bool,
    workers: int,
) -> None:
    """Evaluate one model and block as a tracked run, and print the means."""
    from diffsynth.evaluation.evaluating import evaluate_renders
    from diffsynth.evaluation.registry import absent
    from diffsynth.runs.files import check_writable, folder_sha256
    from diffsynth.transcription.transkun import Transkun

    require(renders, "infer", model, block)
    require(aligned / "index.json", "align")
    check_writable(report)
    judge = Transkun() if transcribe else None
    workers = 1 if transcribe else workers  # its network takes all cores as it is
    reads = {"renders": folder_sha256(renders)}
    with stage("evaluate", params, ["evaluate"], model, block, reads=reads) as run:
        result = evaluate_renders(
            aligned, renders, model, block, params.evaluate, report, figures, judge, workers
        )
        run.metrics(result["metrics"])
        run.artifact(report, "metrics")
        run.artifact(figures, "spectrograms")
    means = ", ".join(f"{name} {value:.3g}" for name, value in result["metrics"].items())
    typer.echo(f"evaluate {model}-{block}: {means} -> {report}")
    say_absent(absent())


def _evaluate_files(
    target: Path, prediction: Path, config: Evaluate, figure: Path | None, as_json: bool, midi: Path | None
) -> None:
    """Print the metrics of one pair; if rates or channels differ, of the fewer, which both hold."""
    from diffsynth.audio.channels import mixed
    from diffsynth.audio.decoding import opened
    from diffsynth.audio.files import read_audio, resample
    from diffsynth.runs.files import check_writable

    if figure is not None:
        if figure.suffix.lower() != ".png":
            raise UserError(f"{figure} must end in .png")
        check_writable(figure)
    from diffsynth.evaluation.evaluating import round_values
    from diffsynth.evaluation.figures import save_figure, spectrogram_figure
    from diffsynth.evaluation.pair import Pair
    from diffsynth.evaluation.registry import absent, measure

    with opened(target) as first, opened(prediction) as second:
        channels = min(first.channels, second.channels)
    recorded, recorded_rate = read_audio(target, channels)
    predicted, predicted_rate = read_audio(prediction, channels)
    rate = min(recorded_rate, predicted_rate)
    recorded = resample(recorded, recorded_rate, rate)
    predicted = resample(predicted, predicted_rate, rate)
    pair = Pair(recorded, predicted, rate, config)
    of_recording = {} if midi is None else _listen(pair, midi)
    scores = round_values(measure(pair) | of_recording)
    if figure is not None:
        title = f"{prediction.name}, compared with {target.name}"
        save_figure(figure, spectrogram_figure(mixed(recorded), mixed(predicted), rate, title, scores))
    width = max(22, *(len(name) + 1 for name in scores))
    lines = [f"{name:<{width}}{value:>10.4g}" for name, value in scores.items()]
    typer.echo(json.dumps(scores, indent=2) if as_json else "\n".join(lines))
    say_absent(absent())


def _listen(pair: "Pair", midi: Path) -> dict[str, float]:
    """Give a pair its notes; returns the scores of notes of the recording itself."""
    from tqdm import tqdm

    from diffsynth.evaluation.evaluating import RECORDING
    from diffsynth.evaluation.heard_notes import listen
    from diffsynth.evaluation.notes import SCORES
    from diffsynth.evaluation.pair import Pair
    from diffsynth.midi.files import read_midi
    from diffsynth.transcription.transkun import Transkun

    events, transcribe = read_midi(midi), Transkun()
    recording = Pair(pair.target, pair.target, pair.rate, pair.settings)
    for each in tqdm((pair, recording), desc="transcribe", unit="file", disable=None):
        listen(each, events, transcribe)
    assert recording.notes is not None
    return {f"{name}/{RECORDING}": recording.notes.f1(name) for name in SCORES}


def say_absent(note: str) -> None:
    """A note on stderr about metrics that cannot be computed here, if there are any."""
    if note:
        typer.echo(f"diffsynth: {note}", err=True)
