"""Modes of one partial from its complex envelope: frequencies, decays and amplitudes.

A partial that beats or decays in two stages is two or three damped sinusoids close together. Their
poles come from the matrix pencil method (Hua and Sarkar, 1990), their amplitudes from least squares.

Products differ in their last bits from processor to processor. Where an envelope holds fewer modes than
are looked for, the next one would be made of such bits: so a mode must stand out from rounding, and what
is left of an envelope must be more than the ridge of the least squares leaves.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_MODES = 3
MIN_DECAY, MAX_DECAY = 0.05, 120.0  # 1/s
WORTH = 0.7  # an additional mode must bring the squared residual below this share
LOUDER = 3.0  # times the loudest frame: highest onset of a fit, which is extrapolated
PENCIL = 24  # frames in a row of the matrix pencil
EXPLAINED = 1e-7  # share of the squared envelope (-70 dB): no mode is added for the sake of less
RANK = 1e-12  # of the largest eigenvalue, a squared singular value: below it there is rounding and no signal


@dataclass(frozen=True)
class Modes:
    """Modes of one partial: offset from its frequency in Hz, decay in 1/s, complex amplitude."""

    offset: NDArray[np.float64]
    decay: NDArray[np.float64]
    amplitude: NDArray[np.complex128]


def fit_modes(
    envelope: NDArray[np.complex128],
    weight: NDArray[np.float64],
    step: float,
    window: NDArray[np.float64],
    rate: int,
) -> Modes:
    """Fit one to three modes to the envelope of a partial.

    Args:
        envelope: [frames] windowed Fourier sums at the partial's frequency, phases relative to the onset;
            frame i starts i * step seconds after the onset. NaN where unknown.
        weight: [frames] how much each frame counts in the amplitudes.
        step: seconds between frames.
        window: the analysis window, whose effect on a decaying mode is compensated.
        rate: samples per second of the window.
    """
    known = np.isfinite(envelope)
    run = envelope[_longest_run(known)]
    single = _single_pole(run, step)
    best, best_error = _solve(envelope, weight, known, single, step, window, rate)
    explained = EXPLAINED * float(weight[known] @ np.abs(envelope[known]) ** 2)
    for poles in _pencil(run, step):
        if best_error < explained:
            break
        poles = _plausible(poles, step)
        if not len(poles):
            continue
        modes, error = _solve(envelope, weight, known, poles, step, window, rate)
        if error < WORTH * best_error and _believable(modes, envelope[known]):
            best, best_error = modes, error
    if not _believable(best, envelope[known]):
        loudest = float(np.abs(envelope[known]).max() / np.abs(best.amplitude).max())
        best = Modes(best.offset, best.decay, best.amplitude * loudest)
    return best


def _solve(
    envelope: NDArray[np.complex128],
    weight: NDArray[np.float64],
    known: NDArray[np.bool_],
    poles: NDArray[np.complex128],
    step: float,
    window: NDArray[np.float64],
    rate: int,
) -> tuple[Modes, float]:
    """Amplitudes of modes with known poles, the window compensated, and the squared error."""
    amplitude, error = _amplitudes(envelope, weight, known, poles, step)
    return Modes(poles.imag / (2 * np.pi), -poles.real, amplitude / window_effect(poles, window, rate)), error


def window_effect(
    poles: NDArray[np.complex128], window: NDArray[np.float64], rate: int
) -> NDArray[np.complex128]:
    """Factor from the amplitude of modes (poles in 1/s) at the start of a window to their windowed sum."""
    turns = np.exp(np.outer(np.arange(len(window)) / rate, poles))
    return np.asarray((window[:, None] * turns).sum(axis=0) / window.sum())


def _believable(modes: Modes, seen: NDArray[np.complex128]) -> bool:
    """Whether the onset that the modes imply is not far above what was measured after it."""
    return float(np.abs(modes.amplitude).max()) < LOUDER * float(np.abs(seen).max())


def _single_pole(envelope: NDArray[np.complex128], step: float) -> NDArray[np.complex128]:
    """The pole that predicts each frame from the one before, by least squares."""
    if len(envelope) < 2:
        return np.array([-3.0 + 0j])
    before, after = envelope[:-1], envelope[1:]
    ratio = np.vdot(before, after) / max(float(np.vdot(before, before).real), 1e-30)
    decay = np.clip(-np.log(max(float(abs(ratio)), 1e-9)) / step, MIN_DECAY, MAX_DECAY)
    turn = np.clip(np.angle(ratio), -np.pi / 3, np.pi / 3)
    return np.array([-decay + 1j * turn / step])


def _pencil(envelope: NDArray[np.complex128], step: float) -> Iterator[NDArray[np.complex128]]:
    """Two, then three poles by the matrix pencil method, if there are frames enough."""
    for order in range(2, MAX_MODES + 1):
        poles = poles_of(envelope, order, PENCIL, step)
        if len(poles):
            yield poles


def poles_of(
    envelope: NDArray[np.complex128], order: int, longest: int, step: float
) -> NDArray[np.complex128]:
    """So many poles in 1/s of a signal by the matrix pencil method; none if it is too short or has fewer.

    Args:
        envelope: [frames].
        order: number of poles.
        longest: largest number of frames in a row of the pencil.
        step: seconds between frames.
    """
    columns = min(len(envelope) // 2, longest)
    if columns < max(4, 2 * order):
        return np.zeros(0, dtype=np.complex128)
    hankel = np.lib.stride_tricks.sliding_window_view(envelope, columns)
    values, vectors = np.linalg.eigh(hankel.T @ hankel.conj())
    if values[-order] <= RANK * values[-1]:
        return np.zeros(0, dtype=np.complex128)
    basis = vectors[:, -order:]
    turn = np.linalg.lstsq(basis[:-1], basis[1:], rcond=None)[0]
    ratios = np.linalg.eigvals(turn).astype(np.complex128)
    return (np.log(np.maximum(np.abs(ratios), 1e-9)) + 1j * np.angle(ratios)) / step


def _plausible(pole: NDArray[np.complex128], step: float) -> NDArray[np.complex128]:
    """Poles that decay and stay near the partial; growing ones are made to decay slowly."""
    near = np.abs(pole.imag) <= np.pi / (2 * step)
    pole = pole[near & (pole.real < 2.0) & (pole.real >= -MAX_DECAY)]
    return np.minimum(pole.real, -MIN_DECAY) + 1j * pole.imag


def _amplitudes(
    envelope: NDArray[np.complex128],
    weight: NDArray[np.float64],
    known: NDArray[np.bool_],
    pole: NDArray[np.complex128],
    step: float,
) -> tuple[NDArray[np.complex128], float]:
    """Least-squares amplitudes of known poles, lightly damped, and the squared residual."""
    root = np.sqrt(weight[known])
    basis = np.exp(np.outer(step * np.flatnonzero(known), pole)) * root[:, None]
    target = envelope[known] * root
    gram = basis.conj().T @ basis
    ridge = 1e-4 * np.trace(gram).real / len(pole)
    amplitude = np.linalg.solve(gram + ridge * np.eye(len(pole)), basis.conj().T @ target)
    return amplitude, float(np.sum(np.abs(target - basis @ amplitude) ** 2))


def _longest_run(known: NDArray[np.bool_]) -> slice:
    """The longest stretch of known frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(np.int8), [0]])))
    begins, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - begins))
    return slice(int(begins[longest]), int(ends[longest]))
