"""Every metric for six changes of which it is known how great they are: the table of docs/metrics.md.

    python benchmarks/known_cases.py

plays eight seconds of the demo on the piano of a released voice, without its network and in one channel,
changes them in six ways, measures each change and prints the table. Takes ten seconds, and a minute more
where Transkun is installed, whose notes are compared with what the piano of the target was given to play.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from diffsynth.audio.channels import mixed
from diffsynth.audio.files import Audio
from diffsynth.evaluation import registry
from diffsynth.evaluation.heard_notes import listen
from diffsynth.evaluation.pair import Pair
from diffsynth.evaluation.registry import ARROWS, METRICS
from diffsynth.midi.events import CONTROL, Events, to_samples
from diffsynth.midi.files import read_midi
from diffsynth.piano.formula import formula_piano
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole
from diffsynth.synthesis.weights import load_voice
from diffsynth.transcription.transkun import WINDOW, Transkun
from pipeline.params import load_params

ROOT = Path(__file__).resolve().parents[1]
PERFORMANCE = ROOT / "data" / "demo" / "bach_prelude_c.mid"
VOICE = ROOT / "weights" / "grand" / "512" / "lstm.safetensors"
RATE, FRAME = 48000, 128  # Hz, samples; of the voice
BEGIN, SECONDS = 4.0, 8.0  # s; before it the demo begins with silence
SOFTER, NOISE = -3.0, -40.0  # dB
LATE = 0.01  # s
ROUNDING = 1e-5  # less is shown as 0
SQUARES = ("l2",)  # of which less than the square of that
CASES = ["identical", "3 dB softer", "10 ms late", "a semitone up", "another piano", "noise at -40 dB"]

Scores = dict[str, list[float]]


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    pairs = cases()
    if METRICS["note_f1"].available:
        hear(pairs)
    print(page(measure(pairs)))


def measure(pairs: list[Pair]) -> Scores:
    """By key of the metric, its value for each pair; without metrics that are not installed."""
    scores = [registry.measure(pair) for pair in pairs]
    return {key: [score[key] for score in scores] for key in scores[0]}


def hear(pairs: list[Pair]) -> None:
    """Have Transkun write down every prediction."""
    transcribe = Transkun(hop=WINDOW)
    events = read_midi(PERFORMANCE)
    events["time"] -= BEGIN
    for pair in pairs:
        listen(pair, events, transcribe)


def page(scores: Scores) -> str:
    """The table of the docs."""
    rows = [["key", "unit", "better", *CASES], ["---"] * 3 + ["---:"] * len(CASES)]
    for key, values in scores.items():
        metric = METRICS[key]
        numbers = [_number(key, value) for value in values]
        rows.append([f"`{key}`", metric.unit, ARROWS[metric.higher_is_better], *numbers])
    return "\n".join("|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in rows)


def _number(key: str, value: float) -> str:
    """Three significant digits."""
    rounding = ROUNDING**2 if key in SQUARES else ROUNDING
    return "0" if abs(value) < rounding else f"{value:#.3g}"


def cases() -> list[Pair]:
    """The target with the prediction of each of `CASES`."""
    settings = load_params(ROOT / "params.yaml").evaluate
    events = read_midi(PERFORMANCE)
    piano = load_voice(VOICE).piano
    target = play(piano, events)
    noise = np.random.default_rng(0).standard_normal(len(target))
    noise *= np.sqrt(np.square(target, dtype=np.float64).mean()) * 10 ** (NOISE / 20)
    predictions = [
        target,
        target * np.float32(10 ** (SOFTER / 20)),
        play(piano, events, LATE),
        play(piano, transposed(events)),
        play(formula_piano(RATE), events),
        target + noise.astype(np.float32),
    ]
    return [Pair(target, prediction, RATE, settings) for prediction in predictions]


def play(piano: Piano, events: Events, late: float = 0.0) -> Audio:
    """Some seconds of a performance, all gains at 1, `late` in s."""
    begin, end = (round((time - late) * RATE) for time in (BEGIN, BEGIN + SECONDS))
    return mixed(play_whole(piano, to_samples(events, RATE), RATE, FRAME, end)[begin:])


def transposed(events: Events) -> Events:
    """The same, a semitone up."""
    result = events.copy()
    result["number"] += events["kind"] != CONTROL
    return result


if __name__ == "__main__":
    main()
