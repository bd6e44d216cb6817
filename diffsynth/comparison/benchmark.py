"""How fast voices are: every row of a table in a process of its own, rows that compare taking turns.

Rows that differ only in model and backend run side by side, a quarter of a second of audio each, so
that whatever else the machine does falls on all of them alike; what is compared are ratios.
"""

import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsynth.errors import UserError
from diffsynth.synthesis.config import BACKENDS, RELEASED_VOICE

if TYPE_CHECKING:
    from diffsynth.synthesis.voice_files import VoiceFile

BASELINE = "unet"
TURN = 0.25  # s of audio that a row plays before the next one does
WARM_UP = 4  # blocks played before the clock starts
PATIENCE = 15.0  # s of computing after which a row ends, if it has at least `ENOUGH` blocks
ENOUGH = 8  # blocks
SEED = 1  # of the music and of networks without weights


@dataclass(frozen=True)
class Setting:
    """What a row measures."""

    model: str
    block: int
    sample_rate: int
    threads: int
    backend: str


def settings(
    models: Sequence[str],
    blocks: Sequence[int],
    rates: Sequence[int],
    threads: Sequence[int],
    backends: Sequence[str],
) -> list[list[Setting]]:
    """All combinations, in groups that are to be compared."""
    return [
        [Setting(model, block, rate, count, backend) for model, backend in product(models, backends)]
        for rate, count, block in product(rates, threads, blocks)
    ]


def run_group(
    group: Sequence[Setting], trained: Path, released: Path, seconds: float
) -> Iterator[dict[str, Any]]:
    """Rows of one group, measured in turns.

    Args:
        group: differ in model and backend only.
        trained: folder of trained models.
        released: folder of released voices.
        seconds: of audio in each row.

    Raises:
        UserError: a row cannot be measured.
    """
    context = get_context("spawn")
    connections, processes = [], []
    try:
        for setting in group:
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, setting, trained, released), daemon=True)
            process.start()
            theirs.close()
            connections.append(mine)
            processes.append(process)
            _answer(mine)  # ready; one after the other, so that none is timed while another starts
        times = _turns(group, connections, seconds)
        for setting, connection, spent in zip(group, connections, times, strict=True):
            connection.send(0)
            yield {**asdict(setting), **_timings(setting, spent), **_answer(connection)}
    finally:
        for process, connection in zip(processes, connections, strict=False):
            connection.close()
            process.terminate()
            process.join()


def add_ratios(rows: Sequence[dict[str, Any]]) -> None:
    """Add `times_faster`: than the U-Net with the same block, rate and threads, in PyTorch; None without."""
    keys = ("block", "sample_rate", "threads")
    baseline = {
        tuple(row[key] for key in keys): row["rtf"]
        for row in rows
        if row["model"] == BASELINE and row["backend"] == BACKENDS[0]
    }
    for row in rows:
        slow = baseline.get(tuple(row[key] for key in keys))
        row["times_faster"] = round(slow / row["rtf"], 1) if slow else None


def _turns(group: Sequence[Setting], connections: Sequence[Connection], seconds: float) -> list[list[float]]:
    """Seconds that every block took, for each row."""
    turn = [max(1, round(TURN * setting.sample_rate / setting.block)) for setting in group]
    wanted = [max(ENOUGH, round(seconds * setting.sample_rate / setting.block)) for setting in group]
    times: list[list[float]] = [[] for _ in group]
    while True:
        left = [i for i in range(len(group)) if not _finished(times[i], wanted[i])]
        if not left:
            return times
        for i in left:
            connections[i].send(min(turn[i], wanted[i] - len(times[i])))
            times[i] += _answer(connections[i])


def _finished(times: list[float], wanted: int) -> bool:
    return len(times) >= wanted or (len(times) >= ENOUGH and sum(times) > PATIENCE)


def _timings(setting: Setting, times: list[float]) -> dict[str, float]:
    quantiles = 1000 * np.quantile(times, (0.5, 0.95, 0.99))
    duration = len(times) * setting.block / setting.sample_rate
    named = dict(zip(("p50_ms", "p95_ms", "p99_ms"), quantiles.round(3).tolist(), strict=True))
    return {"rtf": round(sum(times) / duration, 4), **named}


def _answer(connection: Connection) -> Any:
    try:
        answer = connection.recv()
    except EOFError:
        raise UserError("a process of the benchmark ended by itself: is there enough memory?") from None
    if isinstance(answer, UserError):
        raise answer
    return answer


def _serve(connection: Connection, setting: Setting, trained: Path, released: Path) -> None:
    """A process of one row: plays so many blocks when told, and answers with the seconds of each."""
    import torch

    from diffsynth.datasets.composer.generator import generate
    from diffsynth.synthesis.onnx_step import OnnxStep
    from diffsynth.synthesis.synthesizer import Synthesizer, blocks_of

    torch.set_num_threads(setting.threads)
    try:
        file = bench_file(setting, trained, released)
        voice = bench_voice(setting, file)
        network = OnnxStep.of(voice, threads=setting.threads) if setting.backend == "onnx" else None
        synthesizer = Synthesizer(voice, network=network)
    except UserError as error:
        connection.send(error)
        return
    length = 60.0
    parts = blocks_of(
        generate(SEED, length), setting.sample_rate, setting.block, round(length * setting.sample_rate)
    )
    for part in parts[:WARM_UP]:
        synthesizer.process(part)
    connection.send(None)
    at = WARM_UP
    while count := connection.recv():
        times = []
        for _ in range(count):
            part = parts[at % len(parts)]
            begin = time.perf_counter()
            synthesizer.process(part)
            times.append(time.perf_counter() - begin)
            at += 1
        connection.send(times)
    parameters = sum(parameter.numel() for parameter in voice.denoiser.parameters())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    name = "random weights" if file is None else str(file)
    channels = voice.config.audio.channels
    about = {"channels": channels, "peak_mb": round(peak, 1), "params": parameters, "voice": name}
    connection.send(about)


def bench_file(setting: Setting, trained: Path, released: Path) -> "VoiceFile | None":
    """The file of the voice of a setting; None for a U-Net that is not released.

    One that was trained here may be of another width, and is no baseline.

    Raises:
        UserError: there is no such voice.
    """
    from diffsynth.synthesis.voice_files import RELEASED, VoiceFile, find_weights

    if setting.model != BASELINE:
        return find_weights(setting.model, setting.block, None, trained, released)
    path = released / RELEASED_VOICE / str(setting.block) / f"{setting.model}.safetensors"
    return VoiceFile(path, RELEASED) if path.is_file() else None


def bench_voice(setting: Setting, file: "VoiceFile | None") -> Any:
    """The voice of a file; at another rate than it was made for, one that costs what such a voice costs.

    Without a file it is a U-Net of the published width with random weights: what it computes does not
    depend on them.
    """
    from diffsynth.synthesis.weights import load_voice

    if file is None:
        return _baseline(setting)
    voice: Any = load_voice(file.path)
    if setting.model == BASELINE:
        audio = replace(voice.config.audio, sample_rate=setting.sample_rate)
        return replace(voice, config=replace(voice.config, audio=audio))
    return _at_rate(voice, setting.sample_rate)


def _baseline(setting: Setting) -> Any:
    import torch

    from diffsynth.audio.format import AudioFormat
    from diffsynth.models.unet import Unet
    from diffsynth.representation.stft_frames import FRAMES, FrameScale
    from diffsynth.synthesis.frame_voice import FrameConfig, FrameVoice

    torch.manual_seed(SEED)
    audio = AudioFormat(setting.sample_rate, 128)
    config = FrameConfig(setting.model, setting.block, audio, Unet(128))
    scale = FrameScale(np.ones((FRAMES, setting.block // 2), dtype=np.float32))
    return FrameVoice(config, config.new_denoiser().eval().requires_grad_(False), scale)


def _at_rate(voice: Any, rate: int) -> Any:
    """The voice at another rate: frames of as many samples, modes up to the same share of the rate.

    At twice the rate an octave is to be filled: the modes of the highest one are there twice. At half the
    rate the highest one is left out.
    """
    config, piano = voice.config, voice.piano
    factor = rate / config.audio.sample_rate
    if factor == 1:
        return voice
    less, top = min(factor, 1.0), piano.frequency.max()
    features = replace(config.features, highest=less * config.features.highest)
    config = replace(config, audio=replace(config.audio, sample_rate=rate), features=features)
    copied = np.flatnonzero(piano.frequency > top / max(factor, 1.0))
    modes = np.concatenate([np.flatnonzero(piano.frequency <= less * top), copied])
    raised = np.repeat([1.0, factor], [len(modes) - len(copied), len(copied)])
    order = np.argsort(piano.key[modes], kind="stable")
    modes, raised = modes[order], raised[order]
    kept = {name: getattr(piano, name)[modes] for name in ("key", "decay", "amplitude")}
    return replace(
        voice,
        config=config,
        piano=replace(
            piano,
            **kept,
            frequency=raised * piano.frequency[modes],
            image=piano.image[:, modes] if piano.channels > 1 else piano.image,
            noise=replace(piano.noise, centre=less * piano.noise.centre),
        ),
    )
