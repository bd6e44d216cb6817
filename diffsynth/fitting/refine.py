"""Refining a fitted piano against whole recordings: least squares over all notes that sound together.

Every key in turn is fitted to what the other keys leave (backfitting): its amplitudes a by linear least
squares, then its poles p as well, by Gauss-Newton steps, for the derivative of a z^t by p is t a z^t.
All products of modes are geometric series (`diffsynth.fitting.key_modes`), so a step costs one
projection of what is left and one system of equations, however long the recordings.

Strokes are cut into pieces by age. The softer what is left of a piece, the more the piece counts: a plain
sum of squares would ignore the ends of notes.

Two things keep a step from doing harm. A prior holds amplitudes and poles near their values, the more so the
louder the unexplained sound is around a mode's frequency; where nothing can be measured, nothing moves. And a
step must also explain strikes that it was not fitted to, every `FOLD`th of a key, others in every pass. Where
phases do not repeat from strike to strike, each strike has its own (`diffsynth.fitting.phase_scatter`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.key_modes import KeyModes, modes_of, remainder
from diffsynth.fitting.matrix_pencil import MIN_DECAY
from diffsynth.fitting.phase_scatter import find_turns, partials_of
from diffsynth.fitting.strokes import Pieces, Strokes, energy, find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.piano.piano import Piano

FOLD = 4  # every fourth strike of a key is held out, and must confirm a step
SHORTEST = 0.03  # s that a stroke must last to count
MOST = 240  # strokes of a key that count, the loudest and longest
AGES = (0.0, 0.1, 0.3, 1.0, 3.0, 9.0)  # s from the onset, where strokes are cut
BEGINNING = 0.15  # s of a stroke that decide whether it sounds as the piano says
ALIKE = 0.4  # lowest correlation of the two at which it does
ENOUGH = 2 * FOLD  # strokes that must do so; with fewer of them all count
FAINT = 1e-9  # power, one step of 16 bits: less than that counts as fully explained
SPREAD = 2.0  # times its amplitude: how far the prior lets an amplitude go
WANDER, DRIFT = 0.3, 0.5  # share of its decay, and 1/s: how far the prior lets a pole go
LIMIT = 2.0  # times that: how far one step may go
STEPS = (1.0, 0.4, 0.15)  # shares of a step that are tried in turn, because sound is not linear in the poles
FASTEST = 120.0  # 1/s; the poles of attacks, which decay faster, stay
BETTER = 1e-5  # of the energy that is left: a step must leave less by so much, as rounding never does
RIDGE = 1e-5  # of a mode's energy, keeps modes that nearly cancel each other from growing
FFT = 4096  # samples, of the spectrum of what is left
SMOOTH = 33  # bins
Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class KeyProblem:
    """One key: what its modes are fitted to.

    Attributes:
        key: 0 to 87.
        strokes: of the key.
        fitted: pieces of strokes that a step is fitted to.
        held: pieces of the strokes that must confirm it.
        rest: what the piano leaves of every recording; kept up to date with every step.
        noise: [p] power of `rest` around each mode's frequency, as the variance of white noise.
        rate: samples per second.
        turn: [n, p] by which every strike turns the phases of the modes.
    """

    key: int
    strokes: Strokes
    fitted: Pieces
    held: Pieces
    rest: list[NDArray[np.float32]]
    noise: Real
    rate: int
    turn: Complex

    def modes(self, piano: Piano) -> KeyModes:
        """Modes of the key in a piano."""
        return modes_of(piano, self.key, self.strokes, self.rate, self.turn)

    def energies(self) -> tuple[float, float]:
        """Weighted energy of what is left of the pieces fitted to and of those held out."""
        return self._energy(self.fitted), self._energy(self.held)

    def _energy(self, pieces: Pieces) -> float:
        return float(pieces.weight @ energy(self.rest, self.strokes, pieces))


def refine(piano: Piano, recordings: Sequence[Take], passes: int, poles: bool = True) -> Piano:
    """The piano after some passes over all keys: it explains the recordings better.

    Args:
        piano: fitted note by note.
        recordings: of one sample rate.
        passes: over all keys; with 0 the piano stays as it is.
        poles: whether frequencies and decays move as well as amplitudes.
    """
    rate = recordings[0].rate
    strokes = find_strokes(recordings, piano)
    rest = remainder(piano, recordings, strokes) if passes else []
    turns: dict[int, Complex] = {}
    for number in range(passes):
        spectrum = _spectrum(rest)
        for key in np.unique(piano.key).tolist():
            chosen = _coherent(piano, key, strokes[key], _choose(strokes[key], rate), rest, rate)
            held = np.arange(len(chosen)) % FOLD == number % FOLD
            if len(chosen) < FOLD:
                continue
            bins = piano.frequency[piano.key == key] * FFT / rate
            noise = np.interp(bins, np.arange(len(spectrum)), spectrum)
            turns[key] = _turn(piano, key, strokes[key], chosen, turns.get(key), rest, noise, rate)
            pieces = _pieces(strokes[key], chosen, rest, rate)
            fitted, confirming = pieces.of(chosen[~held]), pieces.of(chosen[held])
            problem = KeyProblem(key, strokes[key], fitted, confirming, rest, noise, rate, turns[key])
            piano = _level(piano, problem)
            piano = _move(piano, problem) if poles else piano
    return piano


def _turn(
    piano: Piano,
    key: int,
    strokes: Strokes,
    chosen: NDArray[np.int64],
    turn: Complex | None,
    rest: list[NDArray[np.float32]],
    noise: Real,
    rate: int,
) -> Complex:
    """The phases by which strikes turn the modes of a key now; `rest` is kept up to date."""
    mine = piano.key == key
    modes, amplitude = modes_of(piano, key, strokes, rate, turn), piano.amplitude[mine]
    found = find_turns(modes, amplitude, partials_of(piano.frequency[mine], key), rest, noise, chosen)
    if not np.array_equal(found, modes.turn):
        modes.add(amplitude, rest)
        modes_of(piano, key, strokes, rate, found).add(-amplitude, rest)
    return found


def _level(piano: Piano, problem: KeyProblem) -> Piano:
    """Amplitudes by least squares, if strokes held out agree."""
    mine = piano.key == problem.key
    modes, amplitude = problem.modes(piano), piano.amplitude[mine]
    held, fitted = (_equations(modes, problem.rest, part, 1) for part in (problem.held, problem.fitted))
    ridge = np.tile(problem.noise / (SPREAD * np.abs(amplitude)) ** 2, 2)
    trial = _solve(*fitted, ridge)
    if 2 * trial @ held[1] <= trial @ held[0] @ trial:
        return piano
    both = _solve(held[0] + fitted[0], held[1] + fitted[1], ridge)
    change = _as_complex(both)
    modes.add(-change, problem.rest)
    return replace(piano, amplitude=_put(piano.amplitude, mine, amplitude + change))


def _move(piano: Piano, problem: KeyProblem) -> Piano:
    """Poles and amplitudes by a Gauss-Newton step, or part of one, if strokes held out agree."""
    mine = piano.key == problem.key
    modes, amplitude = problem.modes(piano), piano.amplitude[mine]
    change, shift = _step(modes, amplitude, problem)
    before = problem.energies()
    for share in STEPS:
        moved = _shifted(piano, mine, share * change, share * shift)
        modes.add(amplitude, problem.rest)
        new = problem.modes(moved)
        new.add(-moved.amplitude[mine], problem.rest)
        moved = _level(moved, problem)
        if all(now < (1 - BETTER) * then for now, then in zip(problem.energies(), before, strict=True)):
            return moved
        new.add(moved.amplitude[mine], problem.rest)
        modes.add(-amplitude, problem.rest)
    return piano


def _step(modes: KeyModes, amplitude: Complex, problem: KeyProblem) -> tuple[Complex, Complex]:
    """Changes of amplitudes and of poles (1/s) that explain most of the strokes fitted to."""
    count, decay = len(amplitude), -modes.pole.real * modes.rate
    reach = WANDER * decay + DRIFT
    # Unknown are the changes of a and of a p, real parts first, then imaginary ones.
    prior = [problem.noise / (scale * np.abs(amplitude)) ** 2 for scale in (SPREAD, reach)]
    free = np.tile(np.concatenate([np.ones(count, dtype=bool), decay < FASTEST]), 2)
    gram, column = _equations(modes, problem.rest, problem.fitted, 2)
    solution = np.zeros(4 * count)
    solution[free] = _solve(gram[np.ix_(free, free)], column[free], np.tile(np.concatenate(prior), 2)[free])
    change, shift = np.split(_as_complex(solution), 2)
    shift = shift / amplitude
    return change, shift * np.minimum(1, LIMIT * reach / np.maximum(np.abs(shift), 1e-12))


def _shifted(piano: Piano, mine: NDArray[np.bool_], change: Complex, shift: Complex) -> Piano:
    """The piano with other amplitudes and poles of one key."""
    decay = np.maximum(piano.decay[mine] - shift.real, MIN_DECAY)
    frequency = np.maximum(piano.frequency[mine] + shift.imag / (2 * np.pi), 0.0)
    return replace(
        piano,
        amplitude=_put(piano.amplitude, mine, piano.amplitude[mine] + change),
        frequency=_put(piano.frequency, mine, frequency),
        decay=_put(piano.decay, mine, decay),
    )


def _equations(
    modes: KeyModes, rest: Sequence[NDArray[np.float32]], pieces: Pieces, order: int
) -> tuple[Real, Real]:
    """Normal equations of changes of the amplitudes (order 1), of poles as well (order 2).

    The columns are those of Re(x B) = Re x Re B - Im x Im B, for the modes B and for t B.
    """
    hermitian, plain = modes.products(pieces)
    h, k = (
        np.block([[sums[i + j] for j in range(order)] for i in range(order)]) for sums in (hermitian, plain)
    )
    cross = -0.5 * (k + h).imag
    gram = np.block([[0.5 * (k + h).real, cross], [cross.T, 0.5 * (h - k).real]])
    projection = np.concatenate([part.sum(axis=0) for part in modes.project(rest, pieces)[:order]])
    return gram, np.concatenate([projection.real, projection.imag])


def _solve(gram: Real, column: Real, prior: Real) -> Real:
    solved = np.linalg.solve(gram + np.diag(prior + RIDGE * np.diag(gram)), column)
    return np.asarray(solved, dtype=np.float64)


def _as_complex(values: Real) -> Complex:
    real, imaginary = np.split(values, 2)
    return real + 1j * imaginary


def _put(values: NDArray[Any], places: NDArray[np.bool_], new: NDArray[Any]) -> NDArray[Any]:
    """A copy with new values in some places."""
    copy = values.copy()
    copy[places] = new
    return copy


def _choose(strokes: Strokes, rate: int) -> NDArray[np.int64]:
    """Strokes that count, in order."""
    long = np.flatnonzero(strokes.free > SHORTEST * rate)
    weight = strokes.velocity[long] ** 4 * np.minimum(strokes.free[long], rate)
    return np.sort(long[np.argsort(-weight, kind="stable")[:MOST]])


def _coherent(
    piano: Piano,
    key: int,
    strokes: Strokes,
    chosen: NDArray[np.int64],
    rest: Sequence[NDArray[np.float32]],
    rate: int,
) -> NDArray[np.int64]:
    """Those of some strokes that sound as the piano says; all if these are too few.

    Others are late or early, or hidden: amplitudes fitted to them as well come out too soft.
    """
    modes, amplitude = modes_of(piano, key, strokes, rate), piano.amplitude[piano.key == key]
    length, alike = round(BEGINNING * rate), np.zeros(len(chosen))
    for row, n in enumerate(chosen.tolist()):
        own = modes.play(n, amplitude, min(length, int(strokes.free[n])))
        begin = int(strokes.onset[n])
        heard = rest[strokes.recording[n]][begin : begin + len(own)] + own
        alike[row] = float(heard @ own) / (float(np.linalg.norm(heard) * np.linalg.norm(own)) + 1e-30)
    kept = chosen[alike > ALIKE]
    return kept if len(kept) >= ENOUGH else chosen


def _pieces(
    strokes: Strokes, chosen: NDArray[np.int64], rest: Sequence[NDArray[np.float32]], rate: int
) -> Pieces:
    """Strokes cut by age; each piece is weighted by how much less is left of it than in the mean.

    The weight is the root of the ratio of powers. With the ratio itself, soft ends would count as much as
    loud beginnings; without a weight, they would hardly count.
    """
    edges = np.round(np.array([*AGES, np.inf]) * rate)
    last = np.minimum(strokes.free[chosen][:, None], edges[1:])
    row, age = np.nonzero(last - edges[:-1] > SHORTEST * rate)
    offset = edges[age].astype(np.int64)
    length = last[row, age].astype(np.int64) - offset
    pieces = Pieces(chosen[row], offset, length, np.ones(len(row)))
    power = energy(rest, strokes, pieces) / length
    overall = sum(float(audio @ audio) for audio in rest) / sum(map(len, rest))
    return replace(pieces, weight=np.sqrt((overall + FAINT) / (power + FAINT)))


def _spectrum(rest: Sequence[NDArray[np.float32]]) -> Real:
    """Power of what is left by frequency, [FFT / 2 + 1]: for white noise, its variance everywhere."""
    window = np.hanning(FFT)
    total, count = np.zeros(FFT // 2 + 1), 0
    for audio in rest:
        for begin in range(0, len(audio) - FFT + 1, FFT):
            total += np.abs(np.fft.rfft(audio[begin : begin + FFT] * window)) ** 2
            count += 1
    power = np.log(np.maximum(total / max(count, 1) / np.sum(window**2), 1e-14))
    kernel = np.hanning(SMOOTH) / np.hanning(SMOOTH).sum()
    smooth = np.convolve(np.pad(power, SMOOTH // 2, mode="edge"), kernel, mode="valid")
    return np.exp(smooth)
