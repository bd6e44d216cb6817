"""How fast the dampers of a sampled instrument end its sound, by what is left of all tails together.

The level of single notes says little: a note beats, and sounds of its release begin when it ends. But what
repeats from strike to strike can be compared as a waveform. Of every key, the rate is taken that leaves the
least of its loudest tails, all other notes taken away,

    min_r  sum_n min_g || y_n - g tail_n(r) ||^2,    y_n = rest_n + tail_n(r_0),

and of the keys around it the median. The factor g is there because a tail that is wrong in level or phase
would be nearest if it were none, which is what high rates are. Keys whose tails tell nothing, such as high
ones that have died away before the damper falls, and those near which too few keys tell, keep the rate r_0
that they have.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.key_modes import KeyModes, modes_of, remainder
from diffsynth.fitting.strokes import Strokes, find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import KEYS
from diffsynth.piano.piano import Piano

RATES = np.concatenate([[0.0], np.geomspace(1.0, 64.0, 20)])  # 1/s, that are tried
SPAN = 0.4  # s of a tail
MOST = 40  # tails of a key, the loudest
TELLS = 1.005  # times what the best rate leaves: the worst must leave as much
NOTHING = 1e-30  # energy of a tail that is none
NEAREST, REACH, FEWEST = 5, 6, 3  # keys that tell: of which the median is taken, how near, how many at least
Real = NDArray[np.float64]


def measure_releases(piano: Piano, recordings: Sequence[Take]) -> Real:
    """[88] release rates in 1/s of a sampled instrument whose modes are known."""
    strokes = find_strokes(recordings, piano)
    rest = remainder(piano, recordings, strokes)
    rates = {}
    for key in range(KEYS):
        left = _left(piano, key, strokes[key], rest, recordings[0].rate)
        if left.max() > TELLS * left.min() and left.argmin() < len(RATES) - 1:
            rates[key] = RATES[left.argmin()]
    known, release = np.array(sorted(rates)), piano.release.copy()
    for key in range(KEYS if len(known) else 0):
        near = known[np.argsort(np.abs(known - key), kind="stable")[:NEAREST]]
        near = near[np.abs(near - key) <= REACH]
        if len(near) >= FEWEST:
            release[key] = np.median([rates[other] for other in near.tolist()])
    return release


def _left(piano: Piano, key: int, strokes: Strokes, rest: Sequence[NDArray[np.float32]], rate: int) -> Real:
    """What is left of the tails of a key with each of `RATES`, in squared samples; 0 if it has none."""
    left, mine = np.zeros(len(RATES)), piano.key == key
    if not mine.any():
        return left
    now, amplitude = modes_of(piano, key, strokes, rate), piano.amplitude[mine]
    trials = [
        KeyModes(now.pole * rate, piano.exponents[mine], release, strokes, rate) for release in RATES.tolist()
    ]
    for n in _loudest(now, amplitude, strokes):
        begin = int(strokes.onset[n] + strokes.free[n])
        heard = rest[strokes.recording[n]][begin : begin + round(SPAN * rate)]
        heard = (heard + now.tail(n, amplitude, len(heard))).astype(np.float64)
        for index, trial in enumerate(trials):
            tail = trial.tail(n, amplitude, len(heard)).astype(np.float64)
            left[index] += heard @ heard - (heard @ tail) ** 2 / max(float(tail @ tail), NOTHING)
    return left


def _loudest(modes: KeyModes, amplitude: NDArray[np.complex128], strokes: Strokes) -> list[int]:
    """Strokes that a damper ends, those with the loudest tails first."""
    ends = modes.state * np.exp(modes.pole * strokes.free[:, None]) * amplitude
    level = (np.abs(ends) ** 2).sum(axis=1)
    damped = np.flatnonzero(strokes.damps & (level > 0))
    return [int(n) for n in damped[np.argsort(-level[damped], kind="stable")[:MOST]]]
