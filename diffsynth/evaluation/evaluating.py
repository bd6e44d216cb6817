"""Measuring a folder of renders against the aligned recordings of the test split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from diffsynth.audio.channels import mixed
from diffsynth.audio.files import Audio, padded, read_audio
from diffsynth.errors import UserError
from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.figures import save_figure, spectrogram_figure
from diffsynth.evaluation.heard_notes import Transcribe, listen
from diffsynth.evaluation.pair import Pair
from diffsynth.evaluation.registry import measure
from diffsynth.evaluation.segments import SEGMENT, evaluate_segments
from diffsynth.midi.events import Events
from diffsynth.runs.files import atomic_folder, read_json, write_json
from diffsynth.runs.parallel import parallel_map

SCORES = "performances.json"  # of every performance, among the figures
SEGMENTS = "segments.json"  # of every segment of them
SPLIT = "test"
RECORDING = "recording"  # evaluated against itself: what a perfect render scores
DIGITS = 5  # significant; beyond them sums differ with the number of threads


def evaluate_renders(
    aligned: Path,
    renders: Path,
    model: str,
    block: int | None,
    config: Evaluate,
    report: Path,
    figures: Path,
    transcribe: Transcribe | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Measure and picture every test performance; returns what is written to `report`.

    The report holds `model`, `block`, `sample_rate` (Hz) and `metrics` (the plain mean over the
    performances, so that a long one does not outweigh the others). The metrics of each performance lie
    beside the figures, in `performances.json`, where they do not widen the tables of `dvc metrics`, and
    those of their segments in `segments.json`. See `diffsynth.evaluation.registry` and `segments`.

    Args:
        aligned: folder of the targets, NAME.flac, and their index.json.
        renders: folder of the predictions of one model at one block size, NAME.wav. One that ends
            before its target is silent from there on.
        model: which model rendered them.
        block: its block size in samples; None for what is no model, which the stage `bounds` renders.
        config: settings of the metrics.
        report: JSON file to write.
        figures: folder to write NAME.png and both JSON files to; replaced as a whole.
        transcribe: what writes down notes, which are then scored as well.
        workers: processes, each with one performance at a time. They change no result.

    Raises:
        UserError: an earlier stage has not run, or has left files that do not fit each other.
    """
    rate, channels, names = _test_split(aligned / "index.json")
    label = model if block is None else f"{model}-{block}"
    with atomic_folder(figures, SCORES) as folder:
        job = _Evaluation(aligned, renders, model, block, rate, channels, config, folder, transcribe)
        measured = parallel_map(job, names, workers, f"evaluate {label}")
        performances, segments = zip(*measured, strict=True)
        _write_scores(
            folder, dict(zip(names, performances, strict=True)), dict(zip(names, segments, strict=True))
        )
    return _write_report(report, model, block, rate, performances)


@dataclass(frozen=True)
class _Evaluation:
    """Measures and pictures one performance after another; see `evaluate_renders`."""

    aligned: Path
    renders: Path
    model: str
    block: int | None
    rate: int
    channels: int
    config: Evaluate
    pictures: Path
    transcribe: Transcribe | None

    def __call__(self, name: str) -> tuple[dict[str, float], dict[str, list[float]]]:
        """Scores of a whole performance, and of each of its segments."""
        made_by = "bounds" if self.block is None else f"infer --model {self.model} --block {self.block}"
        target = _audio(self.aligned / f"{name}.flac", self.rate, self.channels, "align")
        prediction = _audio(self.renders / f"{name}.wav", self.rate, self.channels, made_by)
        pair = Pair(target, padded(prediction, 0, len(target)), self.rate, self.config)
        if self.transcribe is not None:
            listen(pair, _events(self.aligned, name), self.transcribe)
        scores, title = measure(pair), _title(name, self.model, self.block)
        figure = spectrogram_figure(mixed(pair.target), mixed(pair.prediction), self.rate, title, scores)
        save_figure(self.pictures / f"{name}.png", figure)
        return scores, evaluate_segments(pair)


def _write_scores(
    folder: Path, performances: dict[str, dict[str, float]], segments: dict[str, dict[str, list[float]]]
) -> None:
    """What was measured of performances, and of their segments."""
    write_json(folder / SCORES, {name: round_values(scores) for name, scores in performances.items()})
    rounded = {
        name: {key: [_round(value) for value in values] for key, values in scores.items()}
        for name, scores in segments.items()
    }
    write_json(folder / SEGMENTS, {"seconds": SEGMENT, "performances": rounded})


def evaluate_recording(
    aligned: Path, config: Evaluate, report: Path, transcribe: Transcribe | None = None
) -> dict[str, Any]:
    """Measure every recording of the test split against itself; returns what is written to `report`.

    See `evaluate_renders`.
    """
    rate, channels, names = _test_split(aligned / "index.json")
    rows = []
    for name in tqdm(names, desc=f"evaluate {RECORDING}", unit="piece", disable=None):
        target = _audio(aligned / f"{name}.flac", rate, channels, "align")
        pair = Pair(target, target, rate, config)
        if transcribe is not None:
            listen(pair, _events(aligned, name), transcribe)
        rows.append(measure(pair))
    return _write_report(report, RECORDING, None, rate, rows)


def round_values(values: dict[str, float]) -> dict[str, float]:
    """The same values with five significant digits."""
    return {name: _round(value) for name, value in values.items()}


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _write_report(
    report: Path, model: str, block: int | None, rate: int, rows: Sequence[dict[str, float]]
) -> dict[str, Any]:
    """The means of what was measured of performances, with what they belong to."""
    variant = {"model": model} if block is None else {"model": model, "block": block}
    result = {**variant, "sample_rate": rate, "metrics": round_values(_mean(rows))}
    write_json(report, result)
    return result


def _title(name: str, model: str, block: int | None) -> str:
    return f"{name}, {model}" if block is None else f"{name}, {model} at blocks of {block} samples"


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _test_split(path: Path) -> tuple[int, int, list[str]]:
    """Sample rate in Hz, channels, and names of the test performances that were not rejected."""
    index = _earlier(path, "align")
    try:
        usable = [p for p in index["performances"] if p["split"] == SPLIT and p["status"] == "ok"]
        rate, names = int(index["sample_rate"]), sorted(p["name"] for p in usable)
        channels = int(index.get("channels", 1))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not an index of aligned data; run `diffsynth align` again") from error
    if not names:
        raise UserError(
            f"{path} lists no usable performance of the {SPLIT} split: there is nothing to evaluate"
        )
    return rate, channels, names


def _events(aligned: Path, name: str) -> Events:
    """What was played, on the clock of the recording."""
    path = aligned / f"{name}.npy"
    if not path.is_file():
        raise UserError(f"{path} does not exist; run `diffsynth align` first")
    return np.load(path, allow_pickle=False)


def _earlier(path: Path, command: str) -> Any:
    """JSON that the stage `command` writes."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; run `diffsynth {command}` first")
    return read_json(path)


def _audio(path: Path, rate: int, channels: int, command: str) -> Audio:
    """Samples of a file that the stage `command` writes at `rate` Hz and in so many channels."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; run `diffsynth {command}` first")
    samples, actual = read_audio(path, channels)
    if actual != rate:
        raise UserError(f"{path} has {actual} Hz, not {rate} Hz; run `diffsynth {command}` again")
    return samples
