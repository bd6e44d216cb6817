"""The noise of the sustain pedal: modes of its fall and of its rise, at any frequency.

As for attacks (`diffsynth.fitting.attack`), what keys do not explain is averaged, here over the movements of
the pedal that no strike covers, and split into damped sinusoids. Where the pedal cannot be heard this
average holds only remains of the music. So modes are fitted to half of the movements and must explain the
other half.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.attack import LONGEST, SHORTEST, PolesAndAmplitudes, attack_modes, with_modes
from diffsynth.fitting.key_modes import remainder
from diffsynth.fitting.strokes import find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.midi.dampers import PEDAL_FALLS, PEDAL_RISES, Dampers
from diffsynth.midi.events import NOTE_ON
from diffsynth.piano.piano import Piano

FEWEST = 16  # movements that are needed
WORTH = 0.97  # the modes must bring the energy of movements held out below this share


def add_knocks(piano: Piano, recordings: Sequence[Take], max_frequency: float) -> Piano:
    """The same piano with the modes of the pedal's noise, where movements held out confirm it.

    Args:
        piano: the modes of its keys.
        recordings: that it was fitted to.
        max_frequency: Hz, above which there are no modes.
    """
    rate = recordings[0].rate
    left = remainder(piano, recordings, find_strokes(recordings, piano))
    found: dict[int, PolesAndAmplitudes] = {}
    for source in (PEDAL_FALLS, PEDAL_RISES):
        pairs = zip(recordings, left, strict=True)
        parts = list(chain.from_iterable(_moves(recording, rest, source) for recording, rest in pairs))
        knock = _knock(parts, rate, max_frequency)
        if knock is not None:
            found[source] = knock
    return with_modes(piano, found)


def _moves(recording: Take, rest: NDArray[np.float32], source: int) -> Iterator[NDArray[np.float32]]:
    """What is left after every movement of the pedal, until something else happens."""
    shortest, longest = (round(seconds * recording.rate) for seconds in (SHORTEST, LONGEST))
    events, actions = recording.events, list(Dampers(knocks=True).actions(recording.events))
    moves = [position for position, what, key, _ in actions if what == "strike" and key >= PEDAL_FALLS]
    strikes = events["position"][(events["kind"] == NOTE_ON) & (events["value"] > 0)]
    happens = np.sort(np.concatenate([strikes, moves]))
    for position, what, key, _ in actions:
        if what == "strike" and key == source:
            others = happens[np.searchsorted(happens, position + 1) :]
            end = min(len(rest), position + longest, *others[:1].tolist())
            before = np.searchsorted(happens, [position - shortest, position + 1])
            if end - position >= shortest and before[1] - before[0] == 1:
                yield rest[position:end]


def _knock(
    parts: Sequence[NDArray[np.float32]], rate: int, max_frequency: float
) -> PolesAndAmplitudes | None:
    """Modes of the mean of some movements, if they can be heard."""
    if len(parts) < FEWEST:
        return None
    half = attack_modes(_mean(parts[::2]), 1.0, rate, max_frequency)
    if half is None or not len(half[0]):
        return None
    time = np.arange(max(map(len, parts))) / rate
    sound = (np.exp(np.outer(time, half[0])) @ half[1]).real
    held_out = parts[1::2]
    before = sum(float(part @ part) for part in held_out)
    after = sum(float(np.sum((part - sound[: len(part)]) ** 2)) for part in held_out)
    return attack_modes(_mean(parts), 1.0, rate, max_frequency) if after < WORTH * before else None


def _mean(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Mean over the movements, for as long as half of them stand alone."""
    length = int(np.median([len(part) for part in parts]))
    total, count = np.zeros((2, length))
    for part in parts:
        total[: len(part)] += part[:length]
        count[: len(part)] += 1
    return total / count
