"""The job of the infer stage: render performances through the streaming engine and time it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from diffsynth.audio.files import write_audio
from diffsynth.audio.recording import RecordingFile
from diffsynth.errors import UserError
from diffsynth.midi.events import Events
from diffsynth.runs.files import atomic_folder, read_json, write_json
from diffsynth.synthesis.synthesizer import NO_EVENTS, WARM_UP, Synthesizer, blocks_of, play

INDEX = "index.json"  # names of the renders in a folder
MOST_SAMPLES = 2**31 - 2**22  # in a WAV file, which counts its bytes with 32 bits; a day at 24 kHz


@dataclass(frozen=True)
class Rendered:
    """A performance in a file: seconds of audio, real-time factor, samples that had to be clipped."""

    seconds: float
    rtf: float
    clipped: int


def render_timed(
    synthesizer: Synthesizer, events: Events, seconds: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Audio of `seconds` from a fresh start, [time] or [time, c], and the seconds that each block took."""
    synthesizer.reset()
    length = int(seconds * synthesizer.rate)
    audio, times = [], []
    for part in blocks_of(events, synthesizer.rate, synthesizer.block, length):
        begin = time.perf_counter()
        audio.append(synthesizer.process(part))
        times.append(time.perf_counter() - begin)
    return np.concatenate(audio)[:length], np.array(times)


def check_length(events: Events, rate: float, path: Path) -> None:
    """Refuse what is longer than a file can be.

    Raises:
        UserError: says how long both are.
    """
    last = float(events["time"].max(initial=0))
    if last * rate > MOST_SAMPLES:
        hours = MOST_SAMPLES / rate / 3600
        raise UserError(f"the performance lasts {last / 3600:.0f} hours, and {path} can hold {hours:.0f}")


def render_to_file(synthesizer: Synthesizer, events: Events, path: Path) -> Rendered:
    """Write a whole performance, until its sound has died away, into an audio file; with a progress bar.

    Raises:
        UserError: the file cannot be written, or would be longer than files can be.
    """
    check_length(events, synthesizer.rate, path)
    last = float(events["time"].max(initial=0))
    begin, samples, clipped = time.perf_counter(), 0, 0
    total = int(last * synthesizer.rate) // synthesizer.block + 1
    with RecordingFile(path, synthesizer.rate, synthesizer.channels) as file:
        for block in tqdm(play(synthesizer, events), "rendering", total, unit="block", disable=None):
            file.write(block)
            samples += len(block)
            clipped += int((abs(block) > 1).sum())
    spent = time.perf_counter() - begin
    return Rendered(samples / synthesizer.rate, spent * synthesizer.rate / samples, clipped)


def render_split(aligned: Path, out: Path, synthesizer: Synthesizer, split: str = "test") -> dict[str, float]:
    """Render every performance of a split into the folder `out`; returns the timings.

    RTF is compute time over audio time; p50 and p99 are milliseconds per block.

    Raises:
        UserError: there is no aligned data, or no performance in the split.
    """
    performances = [p for p in _index(aligned) if p["split"] == split and p["status"] == "ok"]
    if not performances:
        raise UserError(f"{aligned} holds no performance of the {split} split")
    for _ in range(WARM_UP):
        synthesizer.process(NO_EVENTS)
    times, seconds = [], 0.0
    with atomic_folder(out, INDEX) as folder:
        for performance in performances:
            events = np.load(aligned / f"{performance['name']}.npy", allow_pickle=False)
            audio, spent = render_timed(synthesizer, events, performance["duration"])
            write_audio(folder / f"{performance['name']}.wav", audio, synthesizer.rate)
            times.append(spent)
            seconds += len(spent) * synthesizer.block / synthesizer.rate
        write_json(folder / INDEX, {"performances": [performance["name"] for performance in performances]})
    return _timings(synthesizer, np.concatenate(times), seconds)


def _index(aligned: Path) -> Iterator[dict]:
    path = aligned / "index.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist; run `diffsynth align` first")
    yield from read_json(path)["performances"]


def _timings(synthesizer: Synthesizer, times: NDArray[np.float64], seconds: float) -> dict:
    return {
        "rtf": round(float(times.sum()) / seconds, 4),
        "p50_ms": round(1000 * float(np.quantile(times, 0.5)), 3),
        "p99_ms": round(1000 * float(np.quantile(times, 0.99)), 3),
        "block": synthesizer.block,
        "model": synthesizer.voice.config.model,
        "sample_rate": synthesizer.rate,
        "seconds": round(seconds, 3),
    }
