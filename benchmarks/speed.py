"""What a block costs, beside an older state of the code, in turns in one run.

    python benchmarks/speed.py MIDI ... [--against COMMIT] [--model lstm] [--block 512] [--backend torch]
        [--voices weights/grand] [--piano PIANO.safetensors]
        [--begin 5] [--seconds 20] [--profile]

Either state must read the voice, and plays it in a process of its own, a quarter of a second of each piece
in turn, on one thread; after the pieces, all 88 keys every two seconds under a pedal that never rises. Prints
for each the ms of a block in the mean, the ratio, and the slowest hundredth of blocks as a share of a block's
length. With `--piano` the voice plays another piano, such as one with noise that `benchmarks/real_piano.py`
has fitted.
`--profile` says where the time of a block goes, in the present code.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))

import numpy as np

ROOT = Path(__file__).parents[1]
KEYS88 = "88 keys"
TURN = 0.25  # s
PARTS = {
    "events to amplitudes": "_player._bank.process",
    "of it, levels of noise": "_player._bank._noise.process",
    "condition": "_player._field.condition",
    "network": "_step",
    "gains of modes": "_player._field.mode_gains",
    "gains of noise": "_player._field.noise_gains",
    "amplitudes to sound": "_player._bank.play",
    "of it, noise": "_player._bank._noise.play",
}
"""What `--profile` measures, by its place in a synthesizer of gains."""


@dataclass(frozen=True)
class Work:
    """What a process plays."""

    pieces: list[str]
    voices: str
    model: str
    block: int
    backend: str
    piano: str | None
    begin: float
    seconds: float
    profile: bool


def serve(work: Work) -> None:
    """Play the blocks that standard input asks for, "piece first last"; answer with the seconds of each."""
    import torch

    from diffsynth.piano.piano import load_piano
    from diffsynth.synthesis.onnx_step import OnnxStep
    from diffsynth.synthesis.synthesizer import Synthesizer
    from diffsynth.synthesis.weights import load_voice

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")  # whatever libraries print goes elsewhere
    os.dup2(2, 1)
    voice: Any = load_voice(Path(work.voices, str(work.block), f"{work.model}.safetensors"))
    if work.piano:
        voice = replace(voice, piano=load_piano(work.piano))
    network = OnnxStep.of(voice) if work.backend == "onnx" else None
    streams = [stream(piece, voice.config.audio.sample_rate, work) for piece in [*work.pieces, KEYS88]]
    synthesizers = [Synthesizer(voice, network=network) for _ in streams]
    for synthesizer, (before, _) in zip(synthesizers, streams, strict=True):
        for part in before:
            synthesizer.process(part)
    spent: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    if work.profile:
        for synthesizer in synthesizers[:-1]:
            watch(synthesizer, spent)
    lengths = [len(music) for _, music in streams]
    print(json.dumps([voice.config.audio.sample_rate, lengths]), file=answers, flush=True)
    for line in sys.stdin:
        piece, first, last = map(int, line.split())
        times = []
        for part in streams[piece][1][first:last]:
            begin = time.perf_counter()
            synthesizers[piece].process(part)
            times.append(time.perf_counter() - begin)
        print(json.dumps([times, spent]), file=answers, flush=True)


def stream(piece: str, rate: int, work: Work) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Blocks before those that are timed, and these."""
    from diffsynth.midi.files import read_midi
    from diffsynth.synthesis.synthesizer import blocks_of

    end = work.begin + work.seconds
    events = all_keys(end) if piece == KEYS88 else read_midi(piece)
    blocks = blocks_of(events, rate, work.block, round(end * rate))
    first = round(work.begin * rate / work.block)
    return blocks[:first], blocks[first:]


def all_keys(seconds: float) -> np.ndarray:
    """All 88 keys struck every two seconds under a pedal that never rises."""
    from diffsynth.midi.events import CONTROL, NOTE_ON, SUSTAIN, make_events

    rows = [(0.0, CONTROL, SUSTAIN, 127)]
    for start in np.arange(0.0, seconds, 2.0):
        rows += [(float(start) + 0.001 * i, NOTE_ON, 21 + i, 100) for i in range(88)]
    return make_events(rows)


def watch(synthesizer: Any, spent: dict[str, float]) -> None:
    """Add to `spent` what the parts of a synthesizer take."""
    for name, place in PARTS.items():
        *path, last = place.split(".")
        owner = synthesizer
        for attribute in path:
            owner = getattr(owner, attribute)
        setattr(owner, last, timed(getattr(owner, last), name, spent))


def timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The function, whose time is added up."""

    def run(*args: Any) -> Any:
        begin = time.perf_counter()
        result = function(*args)
        spent[name] += time.perf_counter() - begin
        return result

    return run


class Player:
    """A process that plays with the code of a folder."""

    def __init__(self, code: Path, work: Work) -> None:
        environment = os.environ | {"PYTHONPATH": str(code)}
        command = [sys.executable, __file__, "--serve", json.dumps(asdict(work))]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.rate, self.lengths = self._answer()

    def play(self, piece: int, first: int, last: int) -> tuple[list[float], dict[str, float]]:
        """Seconds of each block of a piece, and of the parts of all blocks so far."""
        assert self._process.stdin is not None
        print(piece, first, last, file=self._process.stdin, flush=True)
        times, spent = self._answer()
        return times, spent

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit("a process ended by itself: see above")
        return json.loads(line)


def compare(work: Work, codes: list[Path]) -> None:
    """Play in turns, and print."""
    players = [Player(code, work) for code in codes]
    rate, lengths = players[0].rate, players[0].lengths
    turn, spent = max(1, round(TURN * rate / work.block)), {}
    times: list[list[list[float]]] = [[[] for _ in players] for _ in lengths]
    for first in range(0, max(lengths), turn):
        for piece in range(len(lengths)):
            for which, player in enumerate(players):
                own, spent = player.play(piece, first, first + turn)
                times[piece][which] += own
    for player in players:
        player.close()
    names = [*(Path(piece).stem for piece in work.pieces), KEYS88]
    print(f"{work.model} at {work.block}, {work.backend}: ms a block, the last column the present code")
    for name, of_piece in zip(names, times, strict=True):
        means = [1000 * float(np.mean(own)) for own in of_piece]
        shares = [100 * float(np.quantile(own, 0.99)) * rate / work.block for own in of_piece]
        row = "  ".join(
            f"{mean:7.3f} (p99 {share:3.0f} %)" for mean, share in zip(means, shares, strict=True)
        )
        print(f"  {name[:44]:44s} {row}   ratio {means[-1] / means[0]:.3f}")
    if work.profile:
        count = sum(lengths[:-1])
        print("where the time of a block goes, ms in the mean over the pieces")
        for name, seconds in spent.items():
            print(f"  {name:24s} {1000 * seconds / count:.3f}")


def main() -> None:
    """Compare as asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pieces", nargs="*")
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--voices", default=str(ROOT / "weights" / "grand"), help="BLOCK/MODEL.safetensors")
    parser.add_argument("--model", default="lstm")
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--piano")
    parser.add_argument("--begin", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = vars(parser.parse_args())
    serving, commit = given.pop("serve"), given.pop("against")
    if serving:
        serve(Work(**json.loads(serving)))
        return
    with tempfile.TemporaryDirectory() as folder:
        codes = [ROOT]
        if commit:
            archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
            subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
            codes.insert(0, Path(folder))
        compare(Work(**given), codes)


if __name__ == "__main__":
    main()
