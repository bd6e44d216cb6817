"""Phases that do not repeat from strike to strike.

A sampled instrument starts every partial at the same phase. A real string may still move when it is struck,
and hammers, keys and labels are late by a millisecond or two, which is half a period at 500 Hz. An average
of such notes cancels, and least squares would find amplitudes that are too small. So where the phase of a
partial scatters from strike to strike, each strike has a phase of its own (for all modes of the partial
together, so that they beat as before), and only what strikes have in common, magnitudes and decays, is
fitted.
"""

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.key_modes import KeyModes
from diffsynth.fitting.strokes import whole
from diffsynth.midi.pitches import equal_tempered

REPEATS = 0.6  # length of the weighted mean of the strikes' unit phases, above which phases repeat
CLEAR = 4.0  # times the power of noise alone, above which a phase can be measured
NOTHING = 1e-6  # of a partial's energy in a stroke: what is seen of it below that has no phase
APART = 0.4  # of the fundamental, between modes of different partials


def partials_of(frequency: NDArray[np.float64], key: int) -> NDArray[np.int64]:
    """[p] number of the partial that each mode belongs to; a gap in frequency separates partials."""
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
    """[n, p] unit factors of the phases of modes in every strike, given those that `modes` was made with.

    Args:
        modes: of a key over all of its strokes.
        amplitude: [p] of them.
        partial: [p] number of the partial of each mode, from `partials_of`; its modes turn together.
        rest: what all modes of all keys leave of the recordings.
        noise: [p] power of that around each mode, as the variance of white noise.
        telling: strikes that tell whether phases repeat.
    """
    strikes = np.arange(len(modes.strokes.velocity))
    together = (partial[:, None] == np.arange(partial.max() + 1)).astype(float)
    plain, _ = modes.project(rest, whole(modes.strokes, strikes))
    energy = _energies(modes, amplitude, together)
    seen = (plain * amplitude.conj()) @ together + energy / 2  # a real signal has half the energy
    total = seen * (modes.turn @ (together / together.sum(axis=0)))
    told = total[telling]
    repeats = np.abs(told.sum(axis=0)) > REPEATS * np.abs(told).sum(axis=0)
    floor = energy.sum(axis=0) * (noise @ together) / together.sum(axis=0)
    clear = (np.abs(seen) ** 2).sum(axis=0) > CLEAR * floor
    turn = np.where(np.abs(total) > NOTHING * energy, total / np.maximum(np.abs(total), 1e-300), 1.0)
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
