"""Measuring what was rendered, as `diffsynth evaluate` does, at one rate and without constant delays.

`audio/recording/NAME.flac` and `audio/SYSTEM/NAME.wav` are what is measured and played: the stretch that was
asked for, at one rate and in one number of channels, the rendering moved by its delay and as long as the
recording. So `diffsynth evaluate --target --prediction` of two of these files gives the same numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from diffsynth.audio.channels import converted, mixed
from diffsynth.audio.decoding import opened
from diffsynth.audio.files import Audio, padded, read_audio, resample, write_audio
from diffsynth.benchmark.offsets import offset
from diffsynth.benchmark.pieces import Piece, Stretch
from diffsynth.benchmark.rendering import RENDERS
from diffsynth.evaluation.anchor import LOW_PASS, low_pass
from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.evaluating import RECORDING, round_values
from diffsynth.evaluation.pair import Pair
from diffsynth.evaluation.registry import METRICS, measure
from diffsynth.evaluation.segments import evaluate_segments
from diffsynth.runs.files import sha256
from diffsynth.runs.resuming import make_stamp, recall, record

AUDIO = "audio"
CODE = ("alignment", "audio", "benchmark", "evaluation")


@dataclass(frozen=True)
class How:
    """What is measured, and how.

    Attributes:
        rate: of everything, Hz.
        channels: of everything: 1, the mean of all; or 2.
        stretch: of each performance.
        lag: the largest delay that is removed, s.
        settings: of the metrics.
    """

    rate: int
    channels: int
    stretch: Stretch
    lag: float
    settings: Evaluate


@dataclass(frozen=True)
class Measured:
    """Of a system, by performance: metrics, those of segments, and by how many s it was later."""

    scores: dict[str, dict[str, float]]
    segments: dict[str, dict[str, list[float]]]
    offsets: dict[str, float]


def measure_all(systems: Sequence[str], pieces: Sequence[Piece], out: Path, how: How) -> dict[str, Measured]:
    """Measure systems by their keys, the low anchor and the recording itself; goes on where it was."""
    keys = [LOW_PASS, *systems, RECORDING]
    found = {key: Measured({}, {}, {}) for key in keys}
    with tqdm(total=len(keys) * len(pieces), desc="measuring", unit="piece", disable=None) as bar:
        for piece in pieces:
            target = _target(piece, out, how)
            for key in keys:
                bar.set_postfix_str(f"{key} {piece.name}")
                result = _measured(key, piece, target, out, how)
                found[key].scores[piece.name] = result["scores"]
                found[key].segments[piece.name] = result["segments"]
                found[key].offsets[piece.name] = result["offset"]
                bar.update()
    for key in keys:
        _tidy(out / AUDIO / key, [piece.name for piece in pieces])
    return found


def common(formats: Sequence[tuple[int, int]], pieces: Sequence[Piece]) -> tuple[int, int]:
    """Rate in Hz and channels that all recordings hold, and voices.

    Args:
        formats: rates and channels of voices.
        pieces: whose recordings they are compared with.

    Returns:
        The lowest rate, and 2 channels if all recordings and one of the voices have them, else 1: what is
        mono among what is stereo plays on both sides.
    """
    rates, stereo = [rate for rate, _ in formats], any(channels > 1 for _, channels in formats)
    for piece in pieces:
        with opened(piece.audio) as file:
            rates.append(file.samplerate)
            stereo = stereo and file.channels == 2
    return min(rates), 1 + stereo


def _target(piece: Piece, out: Path, how: How) -> Path:
    """The recording that is measured against, written unless it is there."""
    stamp = make_stamp(CODE, sha256(piece.audio), piece.end, how.rate, how.channels, asdict(how.stretch))

    def cut() -> Audio:
        samples = _read(piece.audio, how)
        return samples[round(how.stretch.begin * how.rate) : round(piece.end * how.rate)]

    return _kept(out / AUDIO / RECORDING, f"{piece.name}.flac", stamp, how.rate, cut)


def _kept(folder: Path, name: str, stamp: str, rate: int, make: Callable[[], Audio]) -> Path:
    if recall(folder, name, stamp) is None:
        write_audio(folder / name, make(), rate)
        record(folder, name, stamp, True, [name])
    return folder / name


def _measured(key: str, piece: Piece, recording: Path, out: Path, how: How) -> dict[str, Any]:
    """What is known of one system and performance, measured unless it is."""
    folder, name = out / AUDIO / key, f"{piece.name}.wav"
    rendered = recording if key in (LOW_PASS, RECORDING) else out / RENDERS / key / name
    metrics = [key for key, metric in METRICS.items() if metric.available and not metric.of_notes]
    read = [sha256(recording), sha256(rendered), piece.end, metrics]
    stamp = make_stamp(CODE, key, read, asdict(how))
    if (known := recall(folder, piece.name, stamp)) is not None:
        return known
    target, rate = read_audio(recording, how.channels)
    late = 0.0
    if key == RECORDING:
        prediction = target
    else:
        if key == LOW_PASS:
            moved = low_pass(target, rate)
        else:
            samples, begin = _read(rendered, how), round(how.stretch.begin * rate)
            late = offset(mixed(target), mixed(padded(samples, begin, len(target))), rate, how.lag)
            moved = padded(samples, begin + round(late * rate), len(target))
        write_audio(folder / name, moved, rate)
        prediction, _ = read_audio(folder / name, how.channels)
    pair = Pair(target, prediction, rate, how.settings)
    segments = {metric: list(map(float, values)) for metric, values in evaluate_segments(pair).items()}
    result = {"scores": round_values(measure(pair)), "segments": segments, "offset": late}
    record(folder, piece.name, stamp, result, [] if key == RECORDING else [name])
    return result


def _read(path: Path, how: How) -> Audio:
    with opened(path) as file:
        held = how.channels if file.channels == 2 else 1
    samples, own = read_audio(path, held)
    return converted(resample(samples, own, how.rate), how.channels)


def _tidy(folder: Path, names: Sequence[str]) -> None:
    """Remove sound of performances that an earlier run had, and this one does not."""
    for path in folder.iterdir():
        if path.suffix in (".wav", ".flac") and path.stem not in names:
            path.unlink()
