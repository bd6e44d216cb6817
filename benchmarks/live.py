"""A minute of a performance played live: MIDI port to sound server, without hardware.

    python benchmarks/live.py FILE.mid [--seconds 60] [--models lstm s6] [--buffers 2]

A JACK server with its dummy driver runs at the rate of the voice with periods of one block; the
performance is sent to a virtual MIDI port of `diffsynth play`, and what it plays is recorded, both on
the frames of the server. Prints for every voice: blocks that were not ready in time, load (compute
time over the duration of a block), what p99 of it is in ms, and the latency from key to sound that
was announced and that was measured. It is measured second by second, by correlation with the same
performance rendered offline (where a chord stands still, that can be off); JACK hands over keys up to
one period early and takes sound up to one period late. Needs Debian's jackd2 and libportaudio2.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.signal import correlate
from studio import Key, Musician, environment, missing, server

from diffsynth.audio.channels import apart
from diffsynth.audio.files import Audio
from diffsynth.midi.events import CONTROL, NOTE_ON, Events
from diffsynth.midi.files import read_midi
from diffsynth.synthesis.config import RELEASED_VOICE
from diffsynth.synthesis.synthesizer import Synthesizer, render
from diffsynth.synthesis.weights import load_voice

START, REST = 1.0, 1.0  # s of silence before and after
LONGEST = 0.3  # s of latency that are looked for
NUMBERS = re.compile(
    r"p50 ([\d.]+)% p99 ([\d.]+)% max ([\d.]+)%, latency ([\d.]+) ms, (\d+) of (\d+) blocks missed"
)


def keys(events: Events, first: int, rate: int) -> list[Key]:
    """The events as MIDI messages, from a frame of the server on."""
    status = {CONTROL: 0xB0, NOTE_ON: 0x90}
    return [
        (first + round(time * rate), bytes((status.get(kind, 0x80), number, value)))
        for time, kind, number, value in events.tolist()
    ]


def latencies(heard: Audio, expected: Audio, rate: int) -> np.ndarray:
    """Seconds that `heard` is behind `expected`, for every second of it that is loud enough."""
    found = []
    for begin in range(0, len(expected) - rate, rate):
        part = expected[begin : begin + rate]
        if np.abs(part).max() < 0.01:
            continue
        likeness = correlate(heard[begin : begin + rate + int(LONGEST * rate)], part, "valid")
        found.append(np.argmax(likeness) / rate)
    return np.array(found)


def perform(weights: Path, events: Events, seconds: float, buffers: int) -> list[str]:
    """One row of the table."""
    voice = load_voice(weights)
    rate, block = voice.config.audio.sample_rate, voice.config.block
    expected = apart(render(Synthesizer(voice), events))[0]  # the ear hears one channel
    name = f"diffsynth-{os.getpid()}"
    command = [sys.executable, "-m", "pipeline", "play", "--virtual", "keyboard", "--weights", str(weights)]
    with server(name, rate, block):
        musician = Musician(name, seconds + 30)
        process = subprocess.Popen(
            [*command, "--buffers", str(buffers)], env=environment(name), stdout=subprocess.PIPE, text=True
        )
        musician.meet("keyboard")
        time.sleep(START)
        first = musician.frame + int(START * rate)
        musician.play(keys(events, first, rate))
        time.sleep(START + seconds + REST)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        begin, heard = musician.heard()
        musician.close()
    found = NUMBERS.search(output)
    assert found, output
    p50, p99, largest, latency, missed, blocks = found.groups()
    delays = 1000 * latencies(heard[first - begin :], expected[: int(seconds * rate)], rate)
    low, middle, high = np.quantile(delays, [0.05, 0.5, 0.95])
    spread = f"{middle:.1f} ({low:.1f} to {high:.1f})"
    p99_ms = f"{float(p99) / 100 * 1000 * block / rate:.1f}"
    row = [voice.config.model, str(block), str(buffers), f"{missed} of {blocks}"]
    return [*row, p50, p99, largest, p99_ms, latency, spread, str(musician.xruns)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("midi", type=Path)
    parser.add_argument("--weights", type=Path, default=Path("weights") / RELEASED_VOICE)
    parser.add_argument("--models", nargs="+", default=["lstm", "s6"])
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--buffers", nargs="+", type=int, default=[2])
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    if lacking := missing():
        sys.exit(lacking)
    import torch

    torch.set_num_threads(1)
    events = read_midi(given.midi)
    events = events[events["time"] < given.seconds]
    titles = ["model", "block", "buffers", "missed blocks", "load p50 %", "p99 %", "max %", "p99 ms"]
    titles += ["latency said ms", "measured ms (5 to 95 %)", "xruns of the server"]
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
    for model in given.models:
        for buffers in given.buffers:
            weights = given.weights / str(given.block) / f"{model}.safetensors"
            print("| " + " | ".join(perform(weights, events, given.seconds, buffers)) + " |", flush=True)
    print("load average " + " ".join(f"{load:.1f}" for load in os.getloadavg()))


if __name__ == "__main__":
    main()
