"""Phases that do not repeat from strike to strike.

A sampled instrument starts every partial at the same phase. A real string may still be moving, and
hammers, keys and labels are late by a millisecond or two, half a turn at 500 Hz: an average of such
notes cancels, and least squares would call them soft. So where the phase of a partial scatters from
strike to strike, every strike may turn it (all modes of the partial together, so that they beat as
before), and only what is common to the strikes, magnitudes and decays, is fitted.
"""

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.strokes import KeyModes, whole
from diffsynth.midi.pitches import equal_tempered

REPEATS = 0.6  # length of the mean of the strikes' phases, weighted, from which on they count as repeating
CLEAR = 4.0  # times the power that noise alone would have: a phase that can be seen
APART = 0.4  # of the fundamental, between modes of different partials


def partials_of(frequency: NDArray[np.float64], key: int) -> NDArray[np.int64]:
    """[p] number of the partial that each mode belongs to: modes with no gap between them are one."""
    order = np.argsort(frequency, kind="stable")
    gaps = np.diff(frequency[order], prepend=frequency[order[:1]]) > APART * equal_tempered(key)
    group = np.empty(len(frequency), dtype=np.int64)
    group[order] = np.cumsum(gaps)
    return group


def find_turns(
    modes: KeyModes,
    amplitude: NDArray[np.complex128],
    partial: NDArray[np.int64],
    rest: list[NDArray[np.float32]],
    noise: NDArray[np.float64],
    telling: NDArray[np.int64],
) -> NDArray[np.complex128]:
    """[n, p] unit factors by which strikes turn modes, given those that `modes` was made with.

    Args:
        modes: of a key over all of its strokes.
        amplitude: [p] of them.
        partial: [p] which of them turn together, as `partials_of` says.
        rest: what is left of all recordings after these modes and all others.
        noise: [p] power of that around each mode, as the variance of white noise.
        telling: strikes that tell whether phases repeat.
    """
    strikes = np.arange(len(modes.strokes.velocity))
    together = (partial[:, None] == np.arange(partial.max() + 1)).astype(float)
    plain, _ = modes.project(rest, whole(modes.strokes, strikes))
    energy = _energies(modes, amplitude, together)
    seen = (plain * amplitude.conj()) @ together + energy / 2  # a real signal has half the energy
    total = seen * (modes.turn @ (together / together.sum(axis=0)))
    length = np.abs(total).sum(axis=0)
    told = total[telling]
    repeats = np.abs(told.sum(axis=0)) > REPEATS * np.abs(told).sum(axis=0)
    floor = energy.sum(axis=0) * (noise @ together) / together.sum(axis=0)
    clear = (np.abs(seen) ** 2).sum(axis=0) > CLEAR * floor
    turn = np.where(length > 0, total / np.maximum(np.abs(total), 1e-300), 1.0)
    turn[:, repeats | ~clear] = 1.0
    return turn[:, partial]


def _energies(
    modes: KeyModes, amplitude: NDArray[np.complex128], together: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[n, partials] energy of every partial in every stroke, of the complex signal."""
    first, second = np.nonzero(together @ together.T)
    free = modes.strokes.free[:, None]
    start = modes.state * amplitude
    exponent = modes.pole.conj()[first] + modes.pole[second]
    series = np.expm1(free * exponent) / np.expm1(exponent)
    products = (start.conj()[:, first] * start[:, second] * series).real
    return np.maximum(products @ together[first], 0.0)
