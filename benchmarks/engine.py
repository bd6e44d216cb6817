"""The engine over long times: cost, memory and level must stay as they are, whatever is played.

    python benchmarks/engine.py [--model lstm] [--block 512] [--minutes 60] [--onnx]

Prints what a block costs in silence, in dense music (first and last of ten minutes) and with all 88
keys ringing under the pedal, interleaved; then memory, level and finite samples over `--minutes` of
streaming; with `--onnx`, the largest difference between ONNX Runtime and PyTorch over a minute of
audio, for both models at all blocks.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import psutil
import torch

from diffsynth.datasets.composer.generator import generate
from diffsynth.datasets.composer.textures import TEXTURES
from diffsynth.midi.events import CONTROL, NOTE_ON, SUSTAIN, Events, make_events
from diffsynth.synthesis.config import RELEASED_VOICE
from diffsynth.synthesis.onnx_step import OnnxStep
from diffsynth.synthesis.synthesizer import NO_EVENTS, Synthesizer, blocks_of
from diffsynth.synthesis.weights import load_voice

WEIGHTS = Path("weights") / RELEASED_VOICE


def dense(seconds: float) -> Events:
    """Music of the generator laid over itself three times."""
    parts = [generate(seed, seconds, TEXTURES) for seed in range(3)]
    events = np.concatenate(parts)
    return events[np.argsort(events["time"], kind="stable")]


def all_keys(seconds: float) -> Events:
    """All 88 keys struck every two seconds under a pedal that never rises."""
    rows = [(0.0, CONTROL, SUSTAIN, 127)]
    for start in np.arange(0.0, seconds, 2.0):
        rows += [(float(start) + 0.001 * i, NOTE_ON, 21 + i, 100) for i in range(88)]
    return make_events(rows)


def timed(synthesizer: Synthesizer, parts: list[np.ndarray]) -> float:
    """Median ms of a block."""
    times = []
    for part in parts:
        begin = time.perf_counter()
        synthesizer.process(part)
        times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times))


def cost(model: str, block: int) -> None:
    """Cost of a block by what is played, in turns of a second."""
    voice = load_voice(WEIGHTS / str(block) / f"{model}.safetensors")
    rate, seconds = voice.config.audio.sample_rate, 600
    names = ("silence", "dense music, from its start", "dense music, tenth minute", "88 keys")
    synthesizers = {name: Synthesizer(voice) for name in names}
    music = blocks_of(dense(seconds), rate, block, seconds * rate)
    streams = {
        "silence": [NO_EVENTS] * len(music),
        names[1]: music,
        names[2]: music,
        "88 keys": blocks_of(all_keys(seconds), rate, block, seconds * rate),
    }
    last = len(music) - 60 * rate // block
    for part in music[:last]:
        synthesizers[names[2]].process(part)
    turn = rate // block
    readings: dict[str, list[float]] = {name: [] for name in names}
    for at in range(0, 40 * turn, turn):
        for name in names:
            begin = last + at if name == names[2] else at
            readings[name].append(timed(synthesizers[name], streams[name][begin : begin + turn]))
    print(f"{model} at {block}: ms per block, median of 40 s in turns, and as a ratio to silence")
    for name in names:
        value = float(np.median(readings[name]))
        print(f"  {name:28s} {value:7.2f}  {value / np.median(readings['silence']):.2f}")


def endurance(model: str, block: int, minutes: float) -> None:
    """Memory and level of a long stream."""
    voice = load_voice(WEIGHTS / str(block) / f"{model}.safetensors")
    rate, process = voice.config.audio.sample_rate, psutil.Process()
    synthesizer, piece = Synthesizer(voice), generate(0, 60.0)
    parts = blocks_of(piece, rate, block, 60 * rate)
    print("  minute   RSS MiB   RMS dBFS   finite")
    for minute in range(round(minutes)):
        audio = np.concatenate([synthesizer.process(part) for part in parts])
        if minute in milestones(minutes):
            level = 20 * np.log10(np.sqrt(np.mean(audio.astype(float) ** 2)))
            memory = process.memory_info().rss / 2**20
            print(
                f"  {minute + 1:6d}   {memory:7.1f}   {level:8.3f}   {np.isfinite(audio).all()}", flush=True
            )


def milestones(minutes: float) -> set[int]:
    """Minutes, from 0, that get a line."""
    return {0, 1, 4, *range(9, round(minutes), 10), round(minutes) - 1}


def equality() -> None:
    """ONNX Runtime against PyTorch over a minute."""
    for model in ("lstm", "s6"):
        for block in (512, 1024, 2048, 4096):
            voice = load_voice(WEIGHTS / str(block) / f"{model}.safetensors")
            rate = voice.config.audio.sample_rate
            parts = blocks_of(generate(1, 60.0), rate, block, 60 * rate)
            one, other = Synthesizer(voice), Synthesizer(voice, network=OnnxStep.of(voice))
            worst = max(float(np.abs(one.process(part) - other.process(part)).max()) for part in parts)
            print(f"  {model:5s} {block:5d}   largest difference {worst:.1e}", flush=True)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="lstm")
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--onnx", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.onnx:
        equality()
        return
    cost(given.model, given.block)
    endurance(given.model, given.block, given.minutes)


if __name__ == "__main__":
    main()
