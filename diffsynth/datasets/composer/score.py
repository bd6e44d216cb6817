"""Pieces typed in as text, and playing them.

A score file begins with lines `name: value` (`title`, `tempo` in beats per minute, `meter` in
beats per bar, `loudness` as a velocity, and if needed `upbeat`, the beats before the first bar, and
`pedal`, the beats between two changes of the sustain pedal). Then follow its voices, each headed by
`[name accent]`, where `accent` is added to the velocity. In a voice

    C4  F#5  Bb3     are notes, C4 being middle C (MIDI number 60); - is a rest
    G3+B3+E4:1/2     is a chord, lasting half a beat; without a length it lasts as long as the one before
    C4:3~            is tied to the same notes after it
    |                must stand at the end of every bar, or the file is refused
    {C4 E4}*2        is played twice
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources

import numpy as np

from diffsynth.datasets.composer.expression import Manner, Stroke, perform
from diffsynth.midi.events import Events

PIECES = (
    "bach_prelude_c",
    "beethoven_fuer_elise",
    "chopin_prelude_4",
    "chopin_prelude_7",
    "satie_gymnopedie_1",
)
HELD_BACK = {"chopin_prelude_7": "validation", "satie_gymnopedie_1": "test"}  # the others are for training
LEAD = 0.5  # s of silence before the first note

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_NOTE = re.compile(r"([A-G])([#b]?)(\d)")
_REPEAT = re.compile(r"\{([^{}]*)\}\*(\d+)")


@dataclass(frozen=True)
class Score:
    """A written piece.

    Attributes:
        title: piece and composer.
        tempo: beats per minute.
        loudness: velocity.
        upbeat: beats before the first bar.
        pedal: beats between two changes of the sustain pedal; 0 is none.
        strokes: its notes, by beat.
    """

    title: str
    tempo: float
    loudness: float
    upbeat: float
    pedal: float
    strokes: list[Stroke]


def read_piece(name: str) -> Score:
    """One of `PIECES`."""
    return parse_score(
        (resources.files("diffsynth.datasets.composer") / "scores" / f"{name}.txt").read_text(encoding="utf8")
    )


def play(score: Score, seed: int) -> Events:
    """A performance of a score: rubato, a singing melody, loose hands and pedal; a seed gives one."""
    manner = Manner(
        tempo=score.tempo, loudness=score.loudness, touch=0.97, pedal=score.pedal, upbeat=score.upbeat
    )
    return perform(np.random.default_rng([3, seed]), score.strokes, manner, LEAD)


def parse_score(text: str) -> Score:
    """Read a score.

    Raises:
        ValueError: a word is no note, or a bar does not hold what it should; says which.
    """
    header, *voices = re.split(r"^\[(.*)\]$", text, flags=re.MULTILINE)
    fields = dict(re.split(r":\s*", line, maxsplit=1) for line in header.splitlines() if line.strip())
    meter, upbeat = Fraction(fields["meter"]), Fraction(fields.get("upbeat", "0"))
    strokes: list[Stroke] = []
    for heading, body in zip(voices[::2], voices[1::2], strict=True):
        name, accent = heading.split()
        strokes += [s._replace(accent=float(accent)) for s in _voice(name, body, meter, upbeat)]
    return Score(
        title=fields["title"],
        tempo=float(Fraction(fields["tempo"])),
        loudness=float(Fraction(fields["loudness"])),
        upbeat=float(upbeat),
        pedal=float(Fraction(fields.get("pedal", "0"))),
        strokes=sorted(strokes),
    )


def key_number(name: str) -> int:
    """MIDI number of a note name, such as F#5.

    Raises:
        ValueError: it is no note name.
    """
    match = _NOTE.fullmatch(name)
    if not match:
        raise ValueError(f"{name!r} is no note")
    step, accidental, octave = match.groups()
    return 12 * (int(octave) + 1) + _STEPS[step] + {"#": 1, "b": -1, "": 0}[accidental]


def _voice(name: str, body: str, meter: Fraction, upbeat: Fraction) -> Iterator[Stroke]:
    beat, bar_end, bar, length = Fraction(0), upbeat or meter, 0 if upbeat else 1, Fraction(1)
    tied: dict[int, Fraction] = {}  # begin of each note that is still to be continued
    for word in _unfold(body).split():
        if word == "|":
            if beat != bar_end:
                raise ValueError(f"voice {name}, bar {bar}: ends at beat {beat}, not {bar_end}")
            bar, bar_end = bar + 1, bar_end + meter
            continue
        notes, _, written = word.rstrip("~").partition(":")
        length = Fraction(written) if written else length
        keys = [] if notes == "-" else [key_number(note) for note in notes.split("+")]
        begins = {key: tied.pop(key, beat) for key in keys}
        if tied:
            raise ValueError(f"voice {name}, bar {bar}: {sorted(tied)} tied to nothing")
        beat += length
        if word.endswith("~"):
            tied = begins
            continue
        for key, begin in begins.items():
            yield Stroke(float(begin), float(beat - begin), key)


def _unfold(body: str) -> str:
    """Write repeats out, the innermost first."""
    while match := _REPEAT.search(body):
        body = body[: match.start()] + f"{match[1]} " * int(match[2]) + body[match.end() :]
    return body.replace("|", " | ")
